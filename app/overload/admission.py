"""Limits the number of waiting requests, so that admitted ones are answered in time.

Above the capacity, every admitted request delays all later ones without end. So only as many are
admitted as can be answered within an acceptable time; the others are rejected at once. That number
follows from the cost of an answer, which differs by a factor of ten between models and machines and
is therefore measured while serving.

A burst is no overload: it is admitted and worked off. A queue is cut only where demand exceeds the
capacity, or where it stays above the limit for long (the idea of CoDel: Nichols and Jacobson,
2012).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.overload.demand import Demand

# At least this many are admitted, whatever an answer costs: a handful at once is no overload.
MIN_AT_ONCE = 8
# No burst takes longer than this to be worked off, whatever the estimate of demand. A shared
# machine can be slow for a second or two.
PATIENCE_S = 3.0
# The overload lasts for this long after the last rejection.
CALM_S = 0.25


class Admission:
    """Counts requests that were admitted and not yet answered; used from one event loop.

    Args:
        max_wait_s: longest wait of the last admitted request for those before it.
        max_in_flight: upper bound, whatever they cost.
        on_limit: called with the limit, now and when it changes.
    """

    def __init__(
        self,
        max_wait_s: float,
        max_in_flight: int,
        on_limit: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._max_wait_s = max_wait_s
        self._max_in_flight = max_in_flight
        self._demand = Demand()
        self.in_flight = 0
        self.n_idle = 0
        """Those of them that wait for the reranker: they need no CPU, and delay no other."""
        self._on_limit = on_limit
        self.limit = 0
        self._set_limit()
        self._above_since_s: float | None = None
        self._rejected_at_s = -CALM_S

    def rejects(self) -> bool:
        """Whether the request that arrived is one too many; if so, it must not `enter`."""
        self._demand.came()
        if self.count() < self.limit and self.in_flight < self._max_in_flight:
            return False
        now_s = time.perf_counter()
        if self._above_since_s is None:
            self._above_since_s = now_s
        is_overload = (
            self.in_flight >= self._max_in_flight
            or now_s - self._rejected_at_s < CALM_S
            or now_s - self._above_since_s > PATIENCE_S
            or self._demand.share() > 1
        )
        if is_overload:
            self._rejected_at_s = now_s
        return is_overload

    def count(self) -> int:
        """Requests that were admitted and not yet answered, without idle ones."""
        return self.in_flight - self.n_idle

    def idle(self, change: int) -> None:
        """Count one more idle request (1), or one that goes on (-1)."""
        self.n_idle += change

    def enter(self) -> None:
        """Count an admitted request."""
        self.in_flight += 1

    def leave(self) -> None:
        """Count its answer."""
        if self._demand.answered(self.count(), self.limit):
            self._set_limit()
        self.in_flight -= 1
        if self.count() < self.limit:
            self._above_since_s = None

    def _set_limit(self) -> None:
        fitting = int(self._max_wait_s / self._demand.cost_s)
        self.limit = min(self._max_in_flight, max(MIN_AT_ONCE, fitting))
        self._on_limit(self.limit)
