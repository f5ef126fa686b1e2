"""The circuit breaker, the estimate of time, and the policy, each alone."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.reranking import breaker as breaker_module
from app.reranking.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, MAX_FAILURES, CircuitBreaker
from app.reranking.pace import Pace
from app.reranking.policy import LOOK_UP_S, limits_of, wants_rerank
from app.store import deadline
from app.store.deadline import Deadline
from model_store.history import History
from tests.synthetic_reranker import reranker_info


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker_module, "monotonic", clock)
    return clock


def opened(changes: list[bool] | None = None) -> CircuitBreaker:
    breaker = CircuitBreaker(None if changes is None else changes.append)
    for _ in range(MAX_FAILURES):
        assert breaker.permits()
        breaker.failed("it fails")
    return breaker


def test_failures_in_a_row_open_it_and_others_do_not(clock: Clock) -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        for _ in range(MAX_FAILURES - 1):
            breaker.failed("it fails")
        breaker.succeeded()
    assert breaker.permits()
    assert not breaker.is_open
    for _ in range(MAX_FAILURES):
        breaker.failed("it fails")
    assert breaker.is_open
    assert not breaker.permits()
    assert breaker.reason == "it fails"


def test_one_job_decides_after_the_pause(clock: Clock) -> None:
    changes: list[bool] = []
    breaker = opened(changes)
    clock.now_s += FIRST_PAUSE_S
    assert [breaker.permits() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.permits() for _ in range(3)] == [True] * 3
    assert changes == [True, False]
    assert breaker.reason is None


def test_pauses_grow_while_trials_fail_and_begin_anew(clock: Clock) -> None:
    breaker = opened()
    pauses = []
    for _ in range(8):
        started_s = clock.now_s
        while not breaker.permits():
            clock.now_s += 0.5
        pauses.append(clock.now_s - started_s)
        breaker.failed("still")
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert max(pauses) == LONGEST_PAUSE_S
    clock.now_s += LONGEST_PAUSE_S
    assert breaker.permits()
    breaker.succeeded()
    for _ in range(MAX_FAILURES):
        breaker.failed("again")
    clock.now_s += FIRST_PAUSE_S
    assert breaker.permits()


def test_a_hung_job_opens_it_unless_another_one_ended_well_since(clock: Clock) -> None:
    breaker = CircuitBreaker()
    clock.now_s += 1
    asked_at_s = clock.now_s
    clock.now_s += 1
    breaker.succeeded()
    breaker.hung(asked_at_s, "no answer")
    assert breaker.permits()
    clock.now_s += 1
    breaker.hung(clock.now_s - 0.5, "no answer")
    assert not breaker.permits()


def test_failures_of_older_jobs_while_it_is_open_change_nothing(clock: Clock) -> None:
    breaker = opened()
    for _ in range(20):
        breaker.failed("older")
    clock.now_s += FIRST_PAUSE_S
    assert breaker.permits()


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=30), st.integers(1, 100))
def test_the_pace_lies_within_what_was_measured(seconds: list[float], n_jobs: int) -> None:
    pace = Pace()
    assert pace.expect(n_jobs) is None
    for one in seconds:
        pace.measured(one, n_jobs)
    for n in (1, n_jobs):
        expected = pace.expect(n)
        assert expected is not None
        assert min(seconds) * 0.999 <= expected <= max(seconds) * 1.001


def test_the_pace_of_one_job_after_another_and_of_many_at_once() -> None:
    pace = Pace()
    pace.measured(0.2, 1)
    assert pace.expect(3) == pytest.approx(0.6)
    for _ in range(3):
        pace.measured(0.2, 3)
    assert pace.expect(2) == pace.expect(3) == pytest.approx(0.2)
    assert pace.expect(8) == pytest.approx(0.8)


def test_the_pace_follows_changes_also_where_a_queue_was_not_measured_since() -> None:
    pace = Pace()
    pace.measured(9.0, 8)
    for _ in range(30):
        pace.measured(0.1, 1)
    assert pace.expect(1) == pytest.approx(0.1, rel=0.01)
    assert pace.expect(8) == pytest.approx(0.8, rel=0.01)
    for _ in range(30):
        pace.measured(1.0, 1)
    assert pace.expect(1) == pytest.approx(1.0, rel=0.01)


def test_who_is_reranked() -> None:
    info = reranker_info([1, 2, 3, 10, 20, 30, 40, 50, 60, 100])
    assert info.weighting.tail_interactions == 2
    indifferent = reranker_info([1, 2, 3, 10], alpha_1=0.0)
    for n in range(1, 101):
        items = np.ones(n, np.int32)
        history, partial = History(items), History(items, is_complete=False)
        assert not wants_rerank("never", history, info)
        assert wants_rerank("auto", history, info) == (n <= 2)
        assert not wants_rerank("auto", partial, info)
        assert not wants_rerank("auto", history, indifferent)
        assert wants_rerank("always", history, info)
        assert wants_rerank("always", partial, info)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of deadlines no time passes, however long a busy machine takes."""
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: 1_000.0))


@pytest.mark.usefixtures("still")
def test_a_deadline_leaves_time_for_the_rest() -> None:
    for n_answers, n_explained in itertools.product((1, 10), (0, 2)):
        due = limits_of(Deadline.after_ms(100), 10.0, n_answers, n_explained).reranker
        rest_s = 0.003 + 0.0002 * n_answers + 0.015 * n_explained
        assert due.remaining_s == pytest.approx(0.1 - rest_s)
    assert limits_of(None, 0.05, 1, 0).reranker.remaining_s == pytest.approx(0.05)
    due = limits_of(Deadline.after_ms(10_000), 0.05, 1, 0).reranker
    assert due.remaining_s == pytest.approx(0.05)
    assert limits_of(Deadline.after_ms(1), 0.05, 1, 0).reranker.remaining_s == 0


@pytest.mark.usefixtures("still")
def test_the_cache_is_looked_up_where_no_time_is_left_for_the_reranker() -> None:
    limits = limits_of(None, 0.0, 1, 0)
    assert limits.reranker.remaining_s == 0
    assert limits.cache.remaining_s == pytest.approx(LOOK_UP_S)
    assert limits_of(Deadline.after_ms(1), 0.0, 1, 0).cache.remaining_s == 0
