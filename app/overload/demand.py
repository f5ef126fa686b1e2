"""Estimates demand as a share of the capacity.

The length of a queue doesn't tell an overload from a pause: after a tenth of a second in which
nothing ran, as many requests wait as in an overload, but they are soon worked off, and rejecting
them would help nobody. The difference shows in the number of requests over a longer time, and in
the cost of each.
"""

from __future__ import annotations

import math
from time import perf_counter, thread_time

# Requests older than this count little. A pause of this length at 70 % of the capacity is just not
# taken for an overload.
MEMORY_S = 1.0
# The sum decays in steps of at least this length, which saves an exp() a request.
STEP_S = 0.005
# Demand above this share of the capacity is not remembered: after an overload it would only make
# the next second look like one.
MAX_REMEMBERED = 1.5
# A guess until something is measured.
FIRST_COST_S = 0.0005
# The capacity is the best rate of the last seconds (as in BBR: Cardwell and others, 2016): where a
# machine is slow for a moment, the queue is worked off when it recovers. If it stays slow, that
# becomes its capacity after about this time.
FORGET_S = 10.0
SAMPLE_ANSWERS = 64
# An idle processor wakes slowly and with cold caches: the cost of an answer then differs from its
# cost under load.
BUSY_SHARE = 0.8
SMOOTHING = 0.2


class Demand:
    """Counts arrivals and measures the cost of an answer; used from one event loop."""

    def __init__(self) -> None:
        self.cost_s = FIRST_COST_S
        """The present cost of an answer while many wait, seconds."""
        self._min_cost_s: float | None = None
        self._n_came, self._recent = 0, 0.0
        self._faded_s = perf_counter()
        self._n_answers = self._n_waiting = 0
        self._since_s, self._cpu_since_s = self._faded_s, thread_time()

    def came(self) -> None:
        """Count a request, to be answered or rejected."""
        self._n_came += 1

    def share(self) -> float:
        """Demand of about the last second, as a share of the capacity: 1 is all of it.

        0 until something is measured: a guess is no reason to reject a request.
        """
        self._fade()
        return (self._recent + self._n_came) / MEMORY_S * (self._min_cost_s or 0.0)

    def answered(self, n_waiting: int, limit: int) -> bool:
        """Count an answer; True if the costs changed. `n_waiting` includes the answered request.

        The cost is learned from answers under load only: with few requests waiting, each costs more
        than in a full batch.
        """
        self._n_answers += 1
        self._n_waiting += n_waiting
        if self._n_answers < SAMPLE_ANSWERS:
            return False
        now_s, cpu_s = perf_counter(), thread_time()
        elapsed_s, used_s = now_s - self._since_s, cpu_s - self._cpu_since_s
        learns = used_s > BUSY_SHARE * elapsed_s and 2 * self._n_waiting > limit * self._n_answers
        if learns:
            # Wall time, not CPU time: others may share the processor.
            self._learn(elapsed_s / self._n_answers, elapsed_s)
        self._fade()  # in steps, so that one late update doesn't forget everything in between
        self._n_answers = self._n_waiting = 0
        self._since_s, self._cpu_since_s = now_s, cpu_s
        return learns

    def _fade(self) -> None:
        now_s = perf_counter()
        elapsed_s = now_s - self._faded_s
        if elapsed_s < STEP_S:
            return
        self._recent = self._recent * math.exp(-elapsed_s / MEMORY_S) + self._n_came
        if self._min_cost_s:
            self._recent = min(self._recent, MAX_REMEMBERED * MEMORY_S / self._min_cost_s)
        self._n_came, self._faded_s = 0, now_s

    def _learn(self, cost_s: float, elapsed_s: float) -> None:
        self.cost_s += SMOOTHING * (cost_s - self.cost_s)
        min_s = self._min_cost_s
        if min_s is None:
            self._min_cost_s = cost_s
        elif cost_s < min_s:
            self._min_cost_s = min_s + SMOOTHING * (cost_s - min_s)
        else:
            self._min_cost_s = min_s + min(1, elapsed_s / FORGET_S) * (cost_s - min_s)
