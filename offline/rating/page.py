"""The report of a rating network as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render_page(report: Mapping[str, Any]) -> str:
    """The page.

    Args:
        report: the content of report.json.
    """
    first, completion = next(iter(report["models"])), report["facts"].get("completion")
    data, hardware = report["data"], ", ".join(map(str, report["hardware"].values()))
    return "\n".join(
        [
            f"# Rating prediction: {first}",
            "",
            (
                f"{data['users']:,} users, {data['items']:,} items; {data['train']:,} ratings to "
                f"learn from, {data['validation']:,} for choices, {data['test']:,} for this table. "
                f"Split: {report['split']}. {hardware}."
            ),
            "",
            report["protocol"],
            "",
            *([describe_completion(completion), ""] if completion else []),
            f"| model | RMSE | MAE | RMSE over {first} | tail RMSE | tail MAE | over {first} |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(_row(name, parts["test"]) for name, parts in report["models"].items()),
            "",
        ]
    )


def describe_completion(completion: Mapping[str, Any]) -> str:
    """A sentence about attributes that a language model completed, of its report."""
    of_attributes = "; ".join(
        f"{name}, {counts['completed']:,} of {counts['missing']:,} missing values "
        f"({counts['as_in_an_example']:,} as in an example)"
        for name, counts in completion["attributes"].items()
    )
    return f"Completed by {completion['model']}: {of_attributes}."


def _row(name: str, groups: Mapping[str, Any]) -> str:
    cells = [name]
    for group in ("all", "tail"):
        if group not in groups:
            cells += ["", "", ""]
            continue
        figures = groups[group]
        cells += [f"{figures['rmse']:.4f}", f"{figures['mae']:.4f}"]
        cells.append(_difference(figures["difference"]))
    return f"| {' | '.join(cells)} |"


def _difference(difference: Mapping[str, Any]) -> str:
    margin = difference["margin"]
    if margin == 0:
        return ""
    return f"{difference['rmse']:+.4f}" + ("" if margin is None else f" ± {margin:.4f}")
