"""Plots of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_store.files import write_atomically
from offline.plotting import as_png, new_axes

_MIN_CASES = 20


def plot_by_length(by_length: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """NDCG@10 of every model by length of the history, with standard errors, as PNG.

    Each length names its number of cases. The scale is that of lengths with at least 20 cases,
    where there are any: the error of a handful of cases would squash all others.
    """
    figure, axes = new_axes()
    buckets = next(iter(by_length.values()))
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
    labels = [f"{bucket['length']}\n{bucket['cases']:,} cases" for bucket in buckets]
    axes.set_xticks(range(len(buckets)), labels, fontsize=8)
    axes.set_xlabel("items in the history")
    axes.set_ylabel("NDCG@10 on test")
    axes.set_ylim(0, scale_of(by_length))
    axes.legend()
    write_atomically(path, as_png(figure))


def scale_of(by_length: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """Upper end of the scale: the highest bar with its error, of lengths with enough cases."""
    bars = [bucket for values in by_length.values() for bucket in values]
    shown = [bar for bar in bars if bar["cases"] >= _MIN_CASES] or bars
    ends = [bar["ndcg_at_10"] + _finite(bar["ndcg_at_10_standard_error"]) for bar in shown]
    return 1.1 * max(ends, default=1.0) or 1.0


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0


def plot_training(epochs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training loss and, where there is one, validation NDCG@10 by epoch, as PNG.

    A vertical line marks the start of a phase.
    """
    figure, axes = new_axes()
    numbers = [epoch["number"] for epoch in epochs]
    axes.plot(numbers, [epoch["loss"] for epoch in epochs], color="tab:gray", label="loss")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    for before, after in pairwise(epochs):
        if before["phase"] != after["phase"]:
            axes.axvline(before["number"] + 0.5, color="tab:gray", linestyle=":")
    if epochs[0]["figure"] is not None:
        right_axis = axes.twinx()
        right_axis.plot(numbers, [epoch["figure"] for epoch in epochs], color="tab:blue")
        right_axis.set_ylabel("validation NDCG@10", color="tab:blue")
    write_atomically(path, as_png(figure))
