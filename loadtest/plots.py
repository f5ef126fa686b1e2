"""Draws how cost grows, from the benchmark's own figures.

    python -m loadtest.plots loadtest/results/bench.json --out docs/benchmarks

Writes one SVG for each plot whose figures were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError, WorkloadError

Figures = Mapping[str, Any]
Axes = Any  # matplotlib has no types

KINDS = (
    ("plain", "all items"),
    ("filtered", "a filter leaves 1 %"),
    ("excluded", "1,000 best excluded"),
)
SIZE_INCHES = (6.4, 3.6)


def draw_plots(figures: Figures, folder: Path) -> list[Path]:
    """Draw all measured figures into a folder; returns the files.

    Raises:
        WorkloadError: the document has no figures of any plot.
    """
    plots: list[tuple[str, Callable[[Figures, Axes], None], bool]] = [
        ("latency-by-catalogue", _draw_catalogue_latency, "catalogue" in figures),
        ("memory-by-catalogue", _draw_catalogue_memory, "catalogue" in figures),
        ("latency-by-history", _draw_lengths, "lengths" in figures),
        ("latency-by-batch", _draw_batches, "batches" in figures),
        ("latency-by-k", _draw_ks, "ks" in figures),
        ("latency-by-rate", _draw_rates, "open_loop" in figures),
    ]
    if not any(is_there for _, _, is_there in plots):
        raise WorkloadError("the document has no figures of any plot")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(folder / f"{name}.svg", draw, figures) for name, draw, is_there in plots if is_there
    ]


def _draw(path: Path, draw: Callable[[Figures, Axes], None], figures: Figures) -> Path:
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text (small, searchable), and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "longtail", "font.size": 9})
    import matplotlib.pyplot as plt

    canvas, axes = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    draw(figures, axes)
    axes.grid(alpha=0.3)
    axes.set_ylim(bottom=0 if axes.get_yscale() == "linear" else None)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    canvas.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(canvas)
    partial.replace(path)
    return path


def _sizes(figures: Figures) -> dict[int, Figures]:
    measured = {int(n): found for n, found in figures["catalogue"].items() if "p50_ms" in found}
    return dict(sorted(measured.items()))


def _draw_catalogue_latency(figures: Figures, axes: Axes) -> None:
    sizes = _sizes(figures)
    for at, (kind, label) in enumerate(KINDS):
        rows = [found if kind == "plain" else found[kind] for found in sizes.values()]
        for part, style in (("p50_ms", "-"), ("p99_ms", ":")):
            values = [row[part] for row in rows]
            name = f"{label}, {part.removesuffix('_ms')}"
            axes.plot(list(sizes), values, style, marker="o", ms=3, color=f"C{at}", label=name)
    axes.set(xscale="log", yscale="log", xlabel="items", ylabel="ms at one connection")


def _draw_catalogue_memory(figures: Figures, axes: Axes) -> None:
    sizes = {n: found for n, found in _sizes(figures).items() if "rss_bytes" in found}
    for part, label in (("rss_bytes", "resident, one worker"), ("table_bytes", "item table")):
        values = [found[part] / 1e6 for found in sizes.values()]
        axes.plot(list(sizes), values, marker="o", ms=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="items", ylabel="MB")


def _draw_lengths(figures: Figures, axes: Axes) -> None:
    _draw_parts(figures["lengths"], axes, "items in the stored history")


def _draw_batches(figures: Figures, axes: Axes) -> None:
    _draw_parts(figures["batches"], axes, "requests in a batch")


def _draw_ks(figures: Figures, axes: Axes) -> None:
    _draw_parts(figures["ks"], axes, "k")


def _draw_rates(figures: Figures, axes: Axes) -> None:
    _draw_parts(figures["open_loop"], axes, "requests/s, intended", "ms from the intended start")


def _draw_parts(
    rows: Figures, axes: Axes, what: str, latency: str = "ms at one connection"
) -> None:
    counts = [int(count) for count in rows]
    for part, style in (("p50_ms", "-"), ("p99_ms", ":")):
        values = [found[part] for found in rows.values()]
        axes.plot(
            counts, values, style, marker="o", ms=3, color="C0", label=part.removesuffix("_ms")
        )
    axes.set(xlabel=what, ylabel=latency)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the plots of one run of the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.plots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, metavar="FILE", help="the benchmark's JSON")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        figures = json.loads(options.results.read_bytes())
        if not isinstance(figures, dict):
            raise WorkloadError(f"{options.results} holds no figures")
        for path in draw_plots(figures, options.out):
            print(path)
    except (LoadTestError, OSError, ValueError) as error:
        print(f"plots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
