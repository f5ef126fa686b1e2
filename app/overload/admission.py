"""How many requests may wait for each other, so that those taken in are answered soon.

Past capacity every request taken in makes all behind it wait longer, without end. So no more are
taken in than can be answered within a time that is still good; the rest are told at once. How
many that is follows from what an answer costs, which differs by a factor of ten between models
and machines and is therefore measured while serving.

A burst is no overload: it is taken in, and worked off. Only where more is asked for than can be
answered, or a queue stays above the limit for long, is it cut (the idea of CoDel: Nichols and
Jacobson, 2012).
"""

from __future__ import annotations

import time

from app.overload.demand import Demand

# However dear an answer is, so many are taken in: a handful at once is no overload.
MIN_AT_ONCE = 8
# Longer than this no burst takes to be worked off, whatever the demand is reckoned to be. A machine
# that others share can be slow for a second or two.
PATIENCE_S = 3.0
# So long after the last refusal is it an overload still.
CALM_S = 0.25


class Admission:
    """Counts requests that were taken in and not yet answered; used from one event loop.

    Args:
        max_wait_s: how long the last one taken in may have to wait for those before it.
        max_in_flight: an upper bound whatever they cost.
    """

    def __init__(self, max_wait_s: float, max_in_flight: int) -> None:
        self._max_wait_s = max_wait_s
        self._max_in_flight = max_in_flight
        self._demand = Demand()
        self.in_flight = 0
        self.limit = self._find_limit()
        self._above_since_s: float | None = None
        self._rejected_at_s = -CALM_S

    def rejects(self) -> bool:
        """Whether the request that came is one too many; if so, it must not `enter`."""
        self._demand.came()
        if self.in_flight < self.limit:
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
        """Requests that were taken in and not yet answered."""
        return self.in_flight

    def enter(self) -> None:
        """A request was taken in."""
        self.in_flight += 1

    def leave(self) -> None:
        """It was answered."""
        if self._demand.answered(self.in_flight, self.limit):
            self.limit = self._find_limit()
        self.in_flight -= 1
        if self.in_flight < self.limit:
            self._above_since_s = None

    def _find_limit(self) -> int:
        fitting = int(self._max_wait_s / self._demand.cost_s)
        return min(self._max_in_flight, max(MIN_AT_ONCE, fitting))
