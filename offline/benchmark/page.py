"""The results as a page that a person reads (Markdown), and one plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from model_store.files import write_atomically

PROTOCOL = """\
Full ranking over the whole catalogue without the user's history, ties against the model,
leave-one-out. Means over seeds; ± is one standard error over users and seeds. Gains are in NDCG@10,
paired by user and seed, with their 95 % interval. *Tail* are the fifth of the users with the
shortest histories, *rare* the cases whose target is among the rarest items that have a fifth of all
training interactions. The columns *100 negatives* hold what papers with sampled metrics report: the
target among 100 random items, expected over all draws. They say little; compare full ranks."""


def render_page(document: Mapping[str, Any], plot: str) -> str:
    """Markdown of a grid's document; `plot` is a file name beside it."""
    parts = [f"# {document['description']}", PROTOCOL, f"```\n{document['command']}\n```"]
    parts.append(f"Measured on {_describe_hardware(document['hardware'])}, {document['date']}.")
    for name, data in document["data"].items():
        parts.append(
            f"## {name}\n\n{data['users']:,} users, {data['items']:,} items, "
            f"{data['training_interactions']:,} training interactions."
        )
        parts += [
            f"### {part.capitalize()}\n\n{_table(data['entries'], part)}"
            for part in document["grid"]["parts"]
        ]
    parts.append(f"![NDCG@10]({plot})")
    return "\n\n".join(parts) + "\n"


def _describe_hardware(hardware: Mapping[str, Any]) -> str:
    return f"{hardware['cpu']}, {hardware['cores']} cores"


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


def _with_error(figures: Mapping[str, Any], name: str) -> str:
    return f"{_number(figures[name])} ± {_number(figures[f'{name}_standard_error'])}"


def _group(figures: Mapping[str, Any], name: str) -> str:
    if name not in figures:
        return ""
    shown = f"{_number(figures[name]['hit_rate_at_10'])} / {_number(figures[name]['ndcg_at_10'])}"
    gain = figures.get("gain", {}).get(name)
    return f"{shown}; {_gain(gain)}" if gain else shown


def _gain(gain: Mapping[str, Any]) -> str:
    relative = "" if gain["relative"] is None else f", {gain['relative']:+.0%}"
    interval = f"{_signed(gain['from'])} to {_signed(gain['to'])}"
    return f"{_signed(gain['ndcg_at_10'])} ({interval}{relative})"


def _number(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)


def draw_plot(document: Mapping[str, Any], path: Path) -> None:
    """NDCG@10 of every entry with its standard error, one panel a data set, as SVG."""
    data, part_name = document["data"], document["grid"]["parts"][0]
    longest = max(len(part["entries"]) for part in data.values())
    figure = Figure(figsize=(9.0, len(data) * (0.8 + 0.28 * longest)), layout="constrained")
    FigureCanvasSVG(figure)
    for number, (name, part) in enumerate(data.items(), start=1):
        axes = figure.add_subplot(len(data), 1, number)
        labels = list(part["entries"])
        shown = [entry[part_name]["all"] for entry in part["entries"].values()]
        axes.barh(
            labels,
            [figures["ndcg_at_10"] for figures in shown],
            xerr=[figures["ndcg_at_10_standard_error"] for figures in shown],
            color="tab:blue",
            alpha=0.75,
            capsize=2,
        )
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    axes.set_xlabel(f"NDCG@10 on {part_name}")
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
