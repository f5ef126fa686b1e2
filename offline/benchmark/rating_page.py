"""The results of a grid of ratings as a page that a person reads (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline.benchmark.numbers import number, signed
from offline.benchmark.page import describe_hardware

PROTOCOL = """\
Held-out ratings, predicted by models of the training ratings alone and clipped to their scale;
figures are means over seeds. {split} Choices are made on validation. *Tail*: the ratings of the
fifth of the users with the fewest training ratings. Differences of RMSE are paired by user and
seed, with their 95 % interval (Student's); below zero is better. ± is one standard error."""
_SPLITS = {
    "random": "Of all ratings, a tenth drawn by the seed is for choices and a tenth for figures.",
    "leave_one_out": "Of each user the last rating is for figures and the one before for choices.",
    "global_time": "The last tenth of the ratings by time is for figures, the one before for "
    "choices.",
}


def render_ratings(document: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a grid's document; `plots` are names of files in its folder."""
    grid = document["grid"]
    parts = [
        f"# {document['description']}",
        PROTOCOL.format(split=_SPLITS[grid["split"]]),
        f"```\n{document['command']}\n```",
        f"Measured on {describe_hardware(document['hardware'])}, {document['date']}.",
    ]
    for name, data in document["data"].items():
        counts = data["ratings"]
        parts.append(
            f"## {name}\n\n{data['users']:,} users, {data['items']:,} items; "
            f"{counts['train']:,} ratings to learn from, {counts['validation']:,} for choices, "
            f"{counts['test']:,} for figures."
        )
        parts += [
            f"### {part.capitalize()}\n\n{_table(data['entries'], part)}"
            for part in ("test", "validation")
        ]
    parts += [f"![RMSE]({plot})" for plot in plots]
    return "\n\n".join(parts) + "\n"


def _table(entries: Mapping[str, Any], part: str) -> str:
    lines = [
        "| | seeds | RMSE | MAE | RMSE over | by | tail RMSE | tail MAE | by |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in entries.items():
        figures = entry[part]
        whole, tail = figures["all"], figures.get("tail")
        columns = [
            name,
            str(figures["seeds"]),
            f"{number(whole['rmse'])} ± {number(whole['rmse_standard_error'])}",
            number(whole["mae"]),
            figures["against"] or "",
            _difference(whole.get("difference")),
            *([number(tail["rmse"]), number(tail["mae"])] if tail else ["", ""]),
            _difference(tail.get("difference") if tail else None),
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _difference(difference: Mapping[str, Any] | None) -> str:
    if not difference:
        return ""
    interval = f"{signed(difference['from'])} to {signed(difference['to'])}"
    return f"{signed(difference['rmse'])} ({interval})"
