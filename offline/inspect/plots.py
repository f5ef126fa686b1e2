"""Plots of a data set: lengths of histories, interactions over time, popularity of items."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from offline.data.interactions import Interactions
from offline.plotting import as_png, new_axes

_BINS = 40


def plot_lengths(interactions: Interactions) -> bytes:
    """How many users have how many interactions, both on logarithmic scales, as PNG."""
    lengths = np.diff(interactions.offsets)
    figure, axes = new_axes()
    edges = np.unique(np.geomspace(1, max(int(lengths.max()), 1) + 1, _BINS).round())
    axes.hist(lengths, bins=edges if len(edges) > 1 else 1, color="tab:blue")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("interactions of a user")
    axes.set_ylabel("users")
    return as_png(figure)


def plot_times(interactions: Interactions) -> bytes:
    """Interactions over time, as PNG."""
    figure, axes = new_axes()
    counts, edges = np.histogram(interactions.timestamps, bins=_BINS)
    axes.stairs(counts, edges, fill=True, color="tab:blue")
    ticks = np.linspace(edges[0], edges[-1], 6)
    axes.set_xticks(ticks, [_day(tick) for tick in ticks])
    axes.set_ylabel("interactions")
    return as_png(figure)


def plot_popularity(interactions: Interactions) -> bytes:
    """The share of the interactions that the most popular items have together, as PNG."""
    figure, axes = new_axes()
    counts = np.bincount(interactions.items, minlength=interactions.n_items + 1)[1:]
    together = np.cumsum(np.sort(counts)[::-1]) / max(counts.sum(), 1)
    axes.plot(np.arange(1, len(together) + 1) / len(together) * 100, together * 100)
    axes.set_xlabel("most popular items, in per cent")
    axes.set_ylabel("of all interactions, in per cent")
    axes.set_ylim(0, 101)
    return as_png(figure)


def _day(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return f"{time_s:.3g} s"
