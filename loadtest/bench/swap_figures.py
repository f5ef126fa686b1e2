"""Figures of versions that are swapped under load: latencies in swaps, and by those otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.bench.figures import N_RESAMPLES, format_ms, percentiles_ms
from loadtest.bench.overload import REJECTED
from loadtest.bench.watch import Timetable
from loadtest.client import Sample

SETTLING_S = 0.5  # after an activation's answer: other workers follow, the old model is freed
BLOCK = 10  # swaps after one another that a resample draws together
FEWEST_SWAPS = 20  # of which a resample is worth anything


def summarise(
    swaps: Timetable, sample: Sample, rate_rps: float, lead_s: float = 0.0
) -> dict[str, Any]:
    """Latencies of requests that were due during a swap, and of all others after `lead_s`.

    Rejected requests are in neither: they are quick, and would hide slow ones.
    """
    during = _is_during(swaps, sample)
    rejected = np.asarray(sample.statuses) == REJECTED
    steady = ~during & ~rejected & (sample.starts_s >= lead_s)
    n_rejected_during = int((during & rejected).sum())
    during &= ~rejected
    figures: dict[str, Any] = {
        "rps": round(rate_rps, 1),
        "n_swaps": len(swaps.done_s),
        "activation_ms": [round((end_s - begun_s) * 1e3, 1) for begun_s, end_s in swaps.done_s],
        "steady": percentiles_ms(sample.latencies_ms[steady]),
        "during": percentiles_ms(sample.latencies_ms[during])
        | {"max_ms": _longest_ms(sample.latencies_ms[during]), "requests": int(during.sum())},
        "rejected": int(rejected.sum()),
        "rejected_during": n_rejected_during,
        "failed": sample.n_failed,
        "faults": dict(sample.faults),
        "failed_activations": len(swaps.faults),
    }
    p99_ms, steady_ms = figures["during"]["p99_ms"], figures["steady"]["p99_ms"]
    if p99_ms is not None and steady_ms:
        figures["p99_to_steady"] = round(p99_ms / steady_ms, 2)
    if len(swaps.done_s) >= FEWEST_SWAPS:
        figures["p99_to_steady_interval"] = _p99_interval(swaps, sample, steady, during)
    return figures


def _is_during(swaps: Timetable, sample: Sample) -> npt.NDArray[np.bool_]:
    """Whether each request was due from a swap's beginning until it had settled, bool [n]."""
    starts_s = sample.starts_s + sample.begun_s
    during = np.zeros(len(starts_s), dtype=np.bool_)
    for begun_s, ended_s in swaps.done_s:
        during |= (starts_s >= begun_s) & (starts_s < ended_s + SETTLING_S)
    return during


def _p99_interval(
    swaps: Timetable,
    sample: Sample,
    steady: npt.NDArray[np.bool_],
    during: npt.NDArray[np.bool_],
) -> list[float]:
    """95 % interval of p99 in swaps by p99 otherwise, by a bootstrap over blocks of swaps.

    Blocks, as a machine is slow for longer than a swap. The time before a swap belongs to it.
    """
    n = len(swaps.done_s)
    ends_s = [ended_s + SETTLING_S for _, ended_s in swaps.done_s[:-1]]
    number = np.searchsorted(ends_s, sample.starts_s + sample.begun_s, side="right")
    order = np.argsort(sample.latencies_ms, kind="stable")
    latencies_ms, number = sample.latencies_ms[order], number[order]
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(N_RESAMPLES):
        begins = random.integers(0, n, -(-n // BLOCK))
        drawn = (begins[:, None] + np.arange(BLOCK)).ravel()[:n] % n
        times = np.bincount(drawn, minlength=n)[number]
        p99 = [_percentile(latencies_ms, times * part[order], 0.99) for part in (during, steady)]
        ratios.append(p99[0] / p99[1])
    return [round(float(end), 2) for end in np.percentile(ratios, (2.5, 97.5))]


def _percentile(
    ascending: npt.NDArray[np.float64], times: npt.NDArray[np.int64], share: float
) -> float:
    """The value below which a share lies, where each counts so many times."""
    counts = np.cumsum(times)
    return float(ascending[np.searchsorted(counts, share * counts[-1])])


def _longest_ms(latencies_ms: Any) -> float | None:
    return round(float(latencies_ms.max()), 3) if len(latencies_ms) else None


def describe_swaps(found: dict[str, Any]) -> list[str]:
    """The lines a person reads, from what `summarise` gives."""
    longest = max(found["activation_ms"], default=None)
    lines = [
        (
            f"{found['n_swaps']} swaps at {found['rps']:.0f} rps, the slowest activation took "
            f"{format_ms(longest, 0)} ms; {found['failed']} requests failed, {found['rejected']} "
            f"were rejected ({found['rejected_during']} of them during a swap)"
        )
    ]
    for name in ("steady", "during"):
        times = [format_ms(found[name][f"{part}_ms"], 2) for part in ("p50", "p99", "p99_9")]
        lines.append(f"  {name:<7} p50 {times[0]}  p99 {times[1]}  p99.9 {times[2]} ms")
    if interval := found.get("p99_to_steady_interval"):
        bounds = f"{interval[0]:.2f} to {interval[1]:.2f}"
        lines.append(f"  p99 in swaps {found['p99_to_steady']:.2f} x steady (95 % {bounds})")
    return lines
