"""How many requests may wait for each other, so that those taken in are answered soon.

Past capacity every request taken in makes all behind it wait longer, without end. So no more are
taken in than can be answered within a time that is still good; the rest are told at once. How
many that is follows from what an answer costs, which differs by a factor of ten between models
and machines and is therefore measured while serving.

A burst is no overload: a queue that was above the limit for a moment is worked off soon, and to
refuse it would help nobody. Only one that stays there is cut, as long as there is too much (the
idea of CoDel: Nichols and Jacobson, 2012).
"""

from __future__ import annotations

import time

# A guess before anything was measured, on the high side.
FIRST_COST_S = 0.0005
SAMPLE_ANSWERS = 64
# An idle processor wakes slowly and has forgotten all: what an answer costs then says nothing of
# what it costs under load.
BUSY_SHARE = 0.8
SMOOTHING = 0.2
# However dear an answer is, so many are taken in: a handful at once is no overload.
LEAST_AT_ONCE = 8
# So long may more than the limit wait before it counts as overload, and so long after the last
# refusal does it last.
PATIENCE_S = 0.3
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
        self._cost_s = FIRST_COST_S
        self.in_flight = 0
        self.limit = self._find_limit()
        self._above_since_s: float | None = None
        self._refused_at_s = -CALM_S
        self._n_answers = 0
        self._since_s, self._cpu_since_s = time.perf_counter(), time.thread_time()

    def refuses(self) -> bool:
        """Whether a further request is one too many; one that is refused must not `enter`."""
        if self.in_flight < self.limit:
            return False
        now_s = time.perf_counter()
        if self._above_since_s is None:
            self._above_since_s = now_s
        is_overload = (
            self.in_flight >= self._max_in_flight
            or now_s - self._refused_at_s < CALM_S
            or now_s - self._above_since_s > PATIENCE_S
        )
        if is_overload:
            self._refused_at_s = now_s
        return is_overload

    def is_alone(self) -> bool:
        """Whether the request that asks is the only one."""
        return self.in_flight == 1

    def enter(self) -> None:
        """A request was taken in."""
        self.in_flight += 1

    def leave(self) -> None:
        """It was answered."""
        self.in_flight -= 1
        if self.in_flight < self.limit:
            self._above_since_s = None
        self._n_answers += 1
        if self._n_answers >= SAMPLE_ANSWERS:
            self._measure()

    def _measure(self) -> None:
        """Learn from the last answers what one costs this thread, if it had little else to do."""
        now_s, cpu_s = time.perf_counter(), time.thread_time()
        elapsed_s, used_s = now_s - self._since_s, cpu_s - self._cpu_since_s
        if used_s > BUSY_SHARE * elapsed_s:
            # The time that passed, not the CPU time: others may have a share of the processor.
            self._cost_s += SMOOTHING * (elapsed_s / self._n_answers - self._cost_s)
            self.limit = self._find_limit()
        self._n_answers = 0
        self._since_s, self._cpu_since_s = now_s, cpu_s

    def _find_limit(self) -> int:
        fitting = int(self._max_wait_s / self._cost_s)
        return min(self._max_in_flight, max(LEAST_AT_ONCE, fitting))
