"""The figures of logs as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from offline.logged.estimates import Estimate
from offline.logged.rates import Rate
from offline.logged.ratio import Ratio


def show_rates(rates: Sequence[Rate]) -> str:
    """Clicks per exposure, a line for each group."""
    names = [f"{one.kind} {one.name}".strip() for one in rates]
    width = max(map(len, names))
    lines = [
        "clicks per exposure, 95 % intervals between users",
        f"{'':{width}} {'exposures':>11} {'clicks':>9} {'users':>8}  clicks per exposure",
    ]
    lines += [
        f"{name:{width}} {one.n_exposures:11,} {one.n_clicks:9,} {one.ratio.n_users:8,}  "
        f"{_interval(one.ratio)}"
        for name, one in zip(names, rates, strict=True)
    ]
    return "\n".join(lines)


def show_estimates(version: str, temperature: float, estimates: Sequence[Estimate]) -> str:
    """What a bundle would have got, some lines for each number of ranks."""
    policy = f"rankings drawn at temperature {temperature:g}" if temperature else "its ranking"
    lines = [f"what {version} would have got with {policy}, from answers that were drawn"]
    for one in estimates:
        ranks = "first rank" if one.n_ranks == 1 else f"first {one.n_ranks} ranks"
        lines.append(f"{ranks}: {one.n_exposures:,} exposures of {one.n_users:,} users")
        lines.append(f"  {'as shown':24}{_interval(one.logged)}")
        if one.values is None:
            lines.append(f"  not told: {one.why_not}")
            continue
        lines += [
            f"  {'IPS':24}{_interval(one.values.ips)}",
            f"  {'self-normalised IPS':24}{_interval(one.values.snips)}",
            f"  {'doubly robust':24}{_interval(one.values.dr)}",
            f"  {'  less as shown':24}{_interval(one.values.gain, signed=True)}",
            f"  {'effective sample size':24}{one.n_effective:,.0f}",
            f"  {'effective clickers':24}{one.n_clicked:,.0f}",
            f"  {'mean weight':24}{_interval(one.mean_weight)}",
        ]
        if one.missing:
            never = f"{100 * one.missing:.1f} % of the rankings"
            lines.append(f"  {'never drawn':24}{never}; the intervals include what they may get")
    return "\n".join(lines)


def _interval(ratio: Ratio, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if math.isnan(ratio.value):
        return "none"
    if not ratio.has_interval:
        return f"{ratio.value:{sign}.4f}"
    return f"{ratio.value:{sign}.4f} ({ratio.low:{sign}.4f} to {ratio.high:{sign}.4f})"
