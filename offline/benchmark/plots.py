"""Plots of the results, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from model_store.files import write_atomically

NDCG, RMSE = ("ndcg_at_10", "NDCG@10"), ("rmse", "RMSE")
"""Figures, as documents and plots name them."""


def plot_entries(
    document: Mapping[str, Any], path: Path, figure_names: tuple[str, str] = NDCG
) -> None:
    """A figure of every entry with its standard error, one panel a data set."""
    name_in_document, label = figure_names
    data, part_name = document["data"], document["grid"].get("parts", ["test"])[0]
    longest = max(len(part["entries"]) for part in data.values())
    figure = _canvas(9.0, len(data) * (0.8 + 0.28 * longest))
    for number, (name, part) in enumerate(data.items(), start=1):
        axes = figure.add_subplot(len(data), 1, number)
        labels = list(part["entries"])
        shown = [entry[part_name]["all"] for entry in part["entries"].values()]
        axes.barh(
            labels,
            [figures[name_in_document] for figures in shown],
            xerr=[figures[f"{name_in_document}_standard_error"] for figures in shown],
            color="tab:blue",
            alpha=0.75,
            capsize=2,
        )
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    axes.set_xlabel(f"{label} on {part_name}")
    _save(figure, path)


def plot_curves(document: Mapping[str, Any], path: Path) -> None:
    """NDCG@10 against the share of the users that trained, with 95 % intervals.

    One panel for each data set that has curves.
    """
    data = {name: part for name, part in document["data"].items() if part["curves"]}
    part_name = document["grid"]["parts"][0]
    figure = _canvas(8.0, 4.0 * len(data))
    for number, (name, part) in enumerate(data.items(), start=1):
        axes = figure.add_subplot(len(data), 1, number)
        for curve, points in part["curves"].items():
            shown = [part["entries"][point["entry"]][part_name]["all"] for point in points]
            axes.errorbar(
                [point["share"] for point in points],
                [figures["ndcg_at_10"] for figures in shown],
                yerr=[figures["ndcg_at_10_margin"] for figures in shown],
                label=curve,
                marker="o",
                capsize=3,
            )
        axes.set_xscale("log")
        shares = sorted({point["share"] for points in part["curves"].values() for point in points})
        axes.set_xticks(shares, [f"{100 * share:.3g}" for share in shares])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"NDCG@10 on {part_name}")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend()
    axes.set_xlabel("users whose sequences trained, in per cent")
    _save(figure, path)


def _canvas(width: float, height: float) -> Any:
    # No pyplot: it keeps global state and may look for a display.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
