"""The results as a page that a person reads (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline.benchmark.numbers import number, signed

PROTOCOL = """\
Full ranking over the whole catalogue without the user's history, ties against the model,
leave-one-out. Means over seeds; ± is one standard error over users and seeds. Gains are in NDCG@10,
paired by user and seed, with their 95 % interval (Student's, as seeds are few). The interval of a
single seed covers variation between users only, not between trainings; no interval covers another
tuning of a text encoder, since one is tuned for all seeds. *Tail* are the fifth of the
users with the shortest histories, *rare* the cases whose target is among the rarest items that have
a fifth of all training interactions. The columns *100 negatives* hold what papers with sampled
metrics report: the target among 100 random items, expected over all draws. Compare full ranks
instead."""

CURVES = """\
The seed draws the users that train; those of a smaller share are among those of a larger one. All
users are evaluated, with their whole histories. The baselines above count all interactions. NDCG@10
with its
95 % interval; after a semicolon the gain as in the table above."""


def render_page(document: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a grid's document; `plots` are names of files in its folder."""
    parts = [f"# {document['description']}", PROTOCOL, f"```\n{document['command']}\n```"]
    parts.append(f"Measured on {describe_hardware(document['hardware'])}, {document['date']}.")
    for name, data in document["data"].items():
        parts.append(
            f"## {name}\n\n{data['users']:,} users, {data['items']:,} items, "
            f"{data['training_interactions']:,} training interactions."
            f"{_describe_repeats(data.get('repeats', {}))}"
        )
        for part in document["grid"]["parts"]:
            parts.append(f"### {part.capitalize()}\n\n{_table(data['entries'], part)}")
            parts += [
                f"#### {part.capitalize()}, at {k}\n\n{_table_at(data['entries'], part, k)}"
                for k in document["grid"].get("at", ())
            ]
            if data["curves"]:
                parts.append(f"#### By share of the users\n\n{CURVES}\n\n{_curves(data, part)}")
    parts += [f"![NDCG@10]({plot})" for plot in plots]
    return "\n\n".join(parts) + "\n"


def _describe_repeats(repeats: Mapping[str, float]) -> str:
    """A sentence about targets that nobody is recommended; none where there are none."""
    if not repeats:
        return ""
    shares = ", ".join(f"{100 * share:.3g} % on {part}" for part, share in repeats.items())
    return f" Targets that stand in their user's history, and count as misses: {shares}."


def describe_hardware(hardware: Mapping[str, Any]) -> str:
    """The machine in a few words."""
    device = f", {hardware['gpu']}" if "gpu" in hardware else ""
    return f"{hardware['cpu']}, {hardware['cores']} cores{device}"


def _table(entries: Mapping[str, Any], part: str) -> str:
    lines = [
        "| | seeds | HR@10 | NDCG@10 | gain | against | tail | rare | 100 negatives HR / NDCG |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in entries.items():
        figures = entry[part]
        sampled, gain = figures["among_100_negatives"], figures.get("gain")
        columns = [
            name,
            figures["seeds"] if entry["training"] else "",
            _with_error(figures["all"], "hit_rate_at_10"),
            _with_error(figures["all"], "ndcg_at_10"),
            _gain(gain["all"]) if gain else "",
            gain["against"] if gain else "",
            _group(figures, "tail"),
            _group(figures, "rare"),
            f"{sampled['hit_rate_at_10']:.3f} / {sampled['ndcg_at_10']:.3f}",
        ]
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def _table_at(entries: Mapping[str, Any], part: str, k: int) -> str:
    lines = [
        f"| | HR@{k} | NDCG@{k} | gain in NDCG@{k} | against | tail HR / NDCG | tail gain |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in entries.items():
        figures = entry[part]
        tail, gain = figures.get("tail"), figures.get("gain", {})
        columns = [
            name,
            *(number(figures["all"][f"{metric}_at_{k}"]) for metric in ("hit_rate", "ndcg")),
            _gain(gain[f"all at {k}"], k) if gain else "",
            gain.get("against", ""),
            f"{number(tail[f'hit_rate_at_{k}'])} / {number(tail[f'ndcg_at_{k}'])}" if tail else "",
            _gain(gain[f"tail at {k}"], k) if gain and tail else "",
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _curves(data: Mapping[str, Any], part: str) -> str:
    curves, entries = data["curves"], data["entries"]
    shares = sorted({point["share"] for points in curves.values() for point in points})
    lines = [
        f"| users that train | {' | '.join(curves)} |",
        f"| --- |{' --- |' * len(curves)}",
    ]
    for share in shares:
        columns = [f"{100 * share:.3g} %"]
        for points in curves.values():
            names = [point["entry"] for point in points if point["share"] == share]
            columns.append(_with_interval(entries[names[0]][part]) if names else "")
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _with_interval(figures: Mapping[str, Any]) -> str:
    mean, gain = figures["all"]["ndcg_at_10"], figures.get("gain")
    margin = figures["all"]["ndcg_at_10_margin"]
    shown = f"{number(mean)} ({number(mean - margin)} to {number(mean + margin)})"
    return f"{shown}; {_gain(gain['all'])}" if gain else shown


def _with_error(figures: Mapping[str, Any], name: str) -> str:
    return f"{number(figures[name])} ± {number(figures[f'{name}_standard_error'])}"


def _group(figures: Mapping[str, Any], name: str) -> str:
    if name not in figures:
        return ""
    shown = f"{number(figures[name]['hit_rate_at_10'])} / {number(figures[name]['ndcg_at_10'])}"
    gain = figures.get("gain", {}).get(name)
    return f"{shown}; {_gain(gain)}" if gain else shown


def _gain(gain: Mapping[str, Any], k: int = 10) -> str:
    relative = "" if gain["relative"] is None else f", {gain['relative']:+.0%}"
    interval = f"{signed(gain['from'])} to {signed(gain['to'])}"
    return f"{signed(gain[f'ndcg_at_{k}'])} ({interval}{relative})"
