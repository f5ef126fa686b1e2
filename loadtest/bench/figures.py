"""Figures of measurements: medians over rounds, ratios with their intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from loadtest.bench.measured_server import MeasuredServer
from loadtest.recorder import summarise_ms

SHOWN_PERCENTILES = ("p50", "p99", "p99_9")
N_RESAMPLES = 1_000  # of a bootstrap


def percentiles_ms(latencies_ms: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """`p50_ms`, `p99_ms` and `p99_9_ms`."""
    found = summarise_ms(latencies_ms)
    return {f"{name}_ms": found[name] for name in SHOWN_PERCENTILES}


def figures_of(server: MeasuredServer) -> dict[str, Any]:
    """Throughput, CPU time of a request and latency at one connection, over all rounds."""
    times = server.single_ms()
    figures: dict[str, Any] = {"rps": round(statistics.median(server.rps), 1)}
    if server.cpu_us:
        figures["cpu_us"] = round(statistics.median(server.cpu_us), 1)
    return figures | {f"{name}_ms": times[name] for name in SHOWN_PERCENTILES}


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float] | None]:
    """Mean of the rounds' ratios, and its 95 % interval."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return round(statistics.mean(ratios), 4), find_interval(ratios)


def median_ratio_of(
    ours: Sequence[float], theirs: Sequence[float]
) -> tuple[float, list[float] | None]:
    """Median of the rounds' ratios, and its 95 % interval by a bootstrap over rounds.

    For many short rounds, of which the machine makes some ten times as slow on one side: those
    alone would decide a mean. None for fewer than two rounds.
    """
    ratios = np.asarray(ours) / np.asarray(theirs)
    found = round(float(np.median(ratios)), 4)
    if len(ratios) < 2:
        return found, None
    drawn = np.random.default_rng(0).choice(ratios, (N_RESAMPLES, len(ratios)))
    ends = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return found, [round(float(end), 4) for end in ends]


def single_medians_ms(server: MeasuredServer) -> list[float]:
    """The median latency at one connection in each round."""
    return [float(np.median(sample.latencies_ms)) for sample in server.single]


def find_interval(values: Sequence[float]) -> list[float] | None:
    """Student's 95 % interval of the mean, None for fewer than two values."""
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    half = quantile * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return [round(mean - half, 4), round(mean + half, 4)]


def format_interval(interval: Sequence[float] | None) -> str:
    """An interval as text, or a note that there is none."""
    if interval is None:
        return "one round, so no interval"
    return f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"


def format_ms(value: float | None, digits: int = 3) -> str:
    """Milliseconds, or a dash where nothing was measured."""
    return "-" if value is None else f"{value:.{digits}f}"


HEADING = f"{'':<26}{'rps':>9}{'cpu µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}"


def format_row(name: str, figures: dict[str, Any]) -> str:
    """One line of the table under HEADING, from what `figures_of` gives."""
    times = [format_ms(figures[f"{part}_ms"]) for part in SHOWN_PERCENTILES]
    cpu_us = figures.get("cpu_us")
    return (
        f"{name:<26}{figures['rps']:>9.0f}{'-' if cpu_us is None else f'{cpu_us:.0f}':>9}"
        f"{times[0]:>9}{times[1]:>9}{times[2]:>10}"
    )
