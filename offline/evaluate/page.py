"""The report as a page that a person reads (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from offline.evaluate.verdict import describe_repeats, share_of_repeats, warnings_about

_GROUPS = {"all": "all users", "tail": "tail users (the fifth with the fewest interactions)"}
_GROUPS |= {"cold": "cold items (targets without a training interaction)"}
_GROUPS |= {"new": "new items (targets that are not in the user's history)"}


def render_page(
    report: Mapping[str, Any], examples: Sequence[Mapping[str, Any]], plots: Sequence[str]
) -> str:
    """Markdown of a report.

    Args:
        report: the content of report.json.
        examples: users to show, see `make_examples`.
        plots: names of files in the report's folder.
    """
    models = report["models"]
    parts = [f"# {next(iter(models))}: offline report"]
    parts += [f"**Warning:** {warning}." for warning in warnings_about(report)]
    parts += [report["protocol"], _describe(report)]
    for part in ("test", "validation"):
        groups = next(iter(models.values()))[part]
        parts.append(f"## {part.capitalize()}")
        for group, title in _GROUPS.items():
            if group in groups:
                cases = groups[group]["cases"]
                rows = {name: figures[part][group] for name, figures in models.items()}
                parts.append(f"### {title}: {cases:,} case{'s' * (cases != 1)}\n\n{_table(rows)}")
    if report["paired_gains"]:
        parts.append(_gains(report))
    parts += [f"![{name}]({name})" for name in plots]
    if examples:
        parts.append(_show(examples))
    if report["made_with"]:
        rows_of_facts = "\n".join(
            f"| {_cell(key)} | {_cell(value)} |" for key, value in report["made_with"].items()
        )
        parts.append(f"## Made with\n\n| | |\n| --- | --- |\n{rows_of_facts}\n\n{_REST}")
    return "\n\n".join(parts) + "\n"


_REST = "Everything else is in `report.json`, under `facts`."
_ABOUT_EXAMPLES = (
    "From the shortest history to the longest. A history ends with its newest item; the first "
    "recommendation is the best. *Chosen* is the user's next item, bold where it is recommended."
)


def _describe(report: Mapping[str, Any]) -> str:
    data, hardware = report["data"], report["hardware"]
    sentences = (
        f"{data['users']:,} users, {data['items']:,} items, "
        f"{data['training_interactions']:,} training interactions; held out by "
        f"{report['split'].replace('_', ' ')}. Measured on {hardware['cpu']}, "
        f"{hardware['cores']} cores."
    )
    repeats = share_of_repeats(report)
    return f"{sentences} {describe_repeats(repeats)}." if repeats else sentences


def _table(rows: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "| model | HR@10 | NDCG@10 | MRR@10 | coverage@10 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, figures in rows.items():
        hit_rate = _with_error(figures, "hit_rate_at_10")
        ndcg = _with_error(figures, "ndcg_at_10")
        lines.append(
            f"| {name} | {hit_rate} | {ndcg} "
            f"| {figures['mrr_at_10']:.4f} | {figures['coverage_at_10']:.3f} |"
        )
    return "\n".join(lines)


def _with_error(figures: Mapping[str, float], name: str) -> str:
    error = figures[f"{name}_standard_error"]
    return f"{figures[name]:.4f}" + (f" ± {error:.4f}" if math.isfinite(error) else "")


def _gains(report: Mapping[str, Any]) -> str:
    first = next(iter(report["models"]))
    lines = [
        f"## Gains of {first} in NDCG@10, paired over users",
        "",
        "| over | part | gain | 95 % interval |",
        "| --- | --- | --- | --- |",
    ]
    for other, parts in report["paired_gains"].items():
        for part, gain in parts.items():
            interval = f"{gain['from']:+.4f} … {gain['to']:+.4f}"
            lines.append(f"| {other} | {part} | {gain['ndcg_at_10']:+.4f} | {interval} |")
    return "\n".join(lines)


def _show(examples: Sequence[Mapping[str, Any]]) -> str:
    """Some users, from the shortest history to the longest; the target is bold where it is hit."""
    parts = ["## Some test users", _ABOUT_EXAMPLES]
    for example in examples:
        shown = [_cell(title) for title in example["recommended"]]
        chosen, rank = _cell(example["target"]), example["rank"]
        if rank is not None:
            chosen = shown[rank - 1] = f"**{chosen}**"
        n, more = example["interactions"], len(example["history"]) < example["interactions"]
        history = ["…"] * more + [_cell(title) for title in example["history"]]
        parts.append(
            f"### User {_cell(example['user'])}: {n:,} interaction{'s' * (n != 1)}\n\n"
            f"| history | recommended | chosen |\n| --- | --- | --- |\n"
            f"| {'<br>'.join(history)} | {'<br>'.join(shown)} | {chosen} |"
        )
    return "\n\n".join(parts)


_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})
_SHOWN_CHARACTERS = 160


def _cell(value: object) -> str:
    """A value for a table's cell: one line, and nothing in it is markup."""
    text = " ".join(str(value).split())
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 1] + "…"
    return text.translate(_MARKUP)
