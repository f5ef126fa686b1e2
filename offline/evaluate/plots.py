"""Plots of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model_store.files import write_atomically

_SIZE_INCHES = (8.0, 4.5)
_DPI = 120


def plot_by_length(by_length: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """NDCG@10 of every model by length of the history, with standard errors, as PNG."""
    figure, axes = _canvas()
    buckets = [bucket["length"] for bucket in next(iter(by_length.values()))]
    width = 0.8 / len(by_length)
    for number, (name, values) in enumerate(by_length.items()):
        places = [
            place + (number - (len(by_length) - 1) / 2) * width for place in range(len(values))
        ]
        axes.bar(
            places,
            [bucket["ndcg_at_10"] for bucket in values],
            width,
            yerr=[bucket["ndcg_at_10_standard_error"] for bucket in values],
            label=name,
            capsize=2,
        )
    axes.set_xticks(range(len(buckets)), buckets)
    axes.set_xlabel("items in the history")
    axes.set_ylabel("NDCG@10 on test")
    axes.legend()
    _save(figure, path)


def plot_training(epochs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training loss and, where there is one, validation NDCG@10 by epoch, as PNG.

    A vertical line marks the start of a phase.
    """
    figure, axes = _canvas()
    numbers = [epoch["number"] for epoch in epochs]
    axes.plot(numbers, [epoch["loss"] for epoch in epochs], color="tab:gray", label="loss")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    for before, after in pairwise(epochs):
        if before["phase"] != after["phase"]:
            axes.axvline(before["number"] + 0.5, color="tab:gray", linestyle=":")
    if epochs[0]["ndcg"] is not None:
        right_axis = axes.twinx()
        right_axis.plot(numbers, [epoch["ndcg"] for epoch in epochs], color="tab:blue")
        right_axis.set_ylabel("validation NDCG@10", color="tab:blue")
    _save(figure, path)


def _canvas() -> tuple[Any, Any]:
    # No pyplot: it keeps global state and may look for a display.
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="png"))
