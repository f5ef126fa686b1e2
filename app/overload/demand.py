"""How much is asked for, as a share of what can be answered.

A queue alone doesn't tell an overload from a pause: after a tenth of a second in which nothing
ran, as many requests stand there as in an overload, but they are soon worked off, and to refuse
them would help nobody. What tells them apart is how many came over a longer time, against how
long each takes.
"""

from __future__ import annotations

import math
from time import perf_counter, thread_time

# What came so long ago, and before, counts little. A pause as long as this at 70 % of the capacity
# is just not taken for an overload.
MEMORY_S = 1.0
# The sum fades in steps of at least so long, which saves an exp() a request.
STEP_S = 0.005
# Of more than this, as a share of the capacity, the rest is not remembered: after an overload it
# would only make the next second look like one.
MAX_REMEMBERED = 1.5
# A guess before anything was measured.
FIRST_COST_S = 0.0005
# The capacity is what was reached lately (as in BBR: Cardwell and others, 2016): where a machine is
# slow for a moment, what piles up is worked off when it is itself again. If it stays slow, that
# is what it can do after about so long.
FORGET_S = 10.0
SAMPLE_ANSWERS = 64
# An idle processor wakes slowly and has forgotten all: what an answer costs then says nothing of
# what it costs under load.
BUSY_SHARE = 0.8
SMOOTHING = 0.2


class Demand:
    """Arrivals, and what an answer costs; used from one event loop."""

    def __init__(self) -> None:
        self.cost_s = FIRST_COST_S
        """What an answer costs now, while many wait, seconds."""
        self._min_cost_s: float | None = None
        self._n_came, self._recent = 0, 0.0
        self._faded_s = perf_counter()
        self._n_answers = self._n_waiting = 0
        self._since_s, self._cpu_since_s = self._faded_s, thread_time()

    def came(self) -> None:
        """A request came, to be answered or refused."""
        self._n_came += 1

    def share(self) -> float:
        """What was asked for in the last second or so, of what can be answered: 1 is all.

        0 as long as nothing was measured: a guess is no reason to refuse anybody.
        """
        self._fade()
        return (self._recent + self._n_came) / MEMORY_S * (self._min_cost_s or 0.0)

    def answered(self, n_waiting: int, limit: int) -> bool:
        """An answer was given while so many, itself included, were waiting; whether costs changed.

        Learns what one costs from answers that were given with much to do: from few that wait,
        each is dearer than in a full batch.
        """
        self._n_answers += 1
        self._n_waiting += n_waiting
        if self._n_answers < SAMPLE_ANSWERS:
            return False
        now_s, cpu_s = perf_counter(), thread_time()
        elapsed_s, used_s = now_s - self._since_s, cpu_s - self._cpu_since_s
        learns = used_s > BUSY_SHARE * elapsed_s and 2 * self._n_waiting > limit * self._n_answers
        if learns:
            # The time that passed, not the CPU time: others may have a share of the processor.
            self._learn(elapsed_s / self._n_answers, elapsed_s)
        self._fade()  # now and then, lest one late look forget all that came in between
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
