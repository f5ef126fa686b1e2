"""Limits on a run's figures; a broken one sets the exit code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Thresholds:
    """Limits on a run's figures; None is no limit. `max_failures` is a share of all requests."""

    max_p50_ms: float | None = None
    max_p99_ms: float | None = None
    max_failures: float = 0.0
    min_rps: float | None = None

    def find_broken(self, figures: Mapping[str, Any]) -> list[str]:
        """One line for each broken threshold: the figure, then the limit it broke."""
        if not figures["requests"]:
            return ["no request was answered"]
        broken = []
        for name, limit in (("p50_ms", self.max_p50_ms), ("p99_ms", self.max_p99_ms)):
            value = figures["latency_ms"][name.removesuffix("_ms")]
            if limit is not None and not value <= limit:
                broken.append(
                    f"{name} {value:.2f} is above --max-{name.replace('_', '-')} {limit:g}"
                )
        if not figures["failure_share"] <= self.max_failures:
            broken.append(
                f"failures {figures['failure_share']:.4%} ({figures['failed']} of "
                f"{figures['due']}) are above --max-failures {self.max_failures:g}"
            )
        rps = figures["rps"] if figures["rps"] is not None else math.nan
        if self.min_rps is not None and not rps >= self.min_rps:
            broken.append(f"rps {rps:.1f} is below --min-rps {self.min_rps:g}")
        return broken
