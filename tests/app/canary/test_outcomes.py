"""Counts of answers: recorded, added, subtracted, written and read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canary.findings import RATES
from app.canary.outcomes import EDGES_S, MAX_EDGE_RATIO, N_BUCKETS, Outcomes
from app.telemetry.metrics import BUCKETS_S
from model_store.errors import InputError, StoreError

ANSWERS = st.lists(st.tuples(st.floats(0, 10), *(st.booleans() for _ in RATES)))


def recorded(answers: Sequence[tuple[Any, ...]]) -> Outcomes:
    """Of answers in seconds, with whether they count for each of RATES; False if left out."""
    outcomes = Outcomes()
    for seconds, *counts in answers:
        outcomes.record(seconds, **dict(zip(("error", *RATES[1:]), counts, strict=False)))
    return outcomes


def test_each_answer_is_counted_by_what_it_was() -> None:
    outcomes = Outcomes()
    outcomes.record(0.0012)
    outcomes.record(0.0012, empty=True, degraded=True)
    outcomes.record(0.3, short=True)
    outcomes.record(60.0, popular=True)
    outcomes.record(0.0001, error=True, empty=True, popular=True)
    assert outcomes.answers == 5
    assert [getattr(outcomes, name) for name in RATES] == [1] * len(RATES)
    assert outcomes.timed == 4
    assert outcomes.latencies[-1] == 1


def test_answers_before_the_reranker_is_there_count_for_errors_empty_and_short_ones_alone() -> None:
    outcomes = Outcomes()
    outcomes.record(0.1, degraded=True, popular=True, short=True, empty=True, ready=False)
    outcomes.record(0.1, error=True, ready=False)
    outcomes.record(0.1, degraded=True, popular=True)
    assert outcomes.answers == 3
    assert [getattr(outcomes, name) for name in RATES] == [1] * len(RATES)
    assert (outcomes.unready, outcomes.ready, outcomes.timed) == (1, 2, 1)
    assert Outcomes.from_json(outcomes.to_json()) == outcomes


def test_counts_of_an_earlier_release_are_read() -> None:
    """Its workers go on while others are replaced."""
    later = ("unready", "popular")
    earlier = {name: count for name, count in GOOD.items() if name not in later}
    assert Outcomes.from_json(json.dumps(earlier)) == Outcomes.from_json(json.dumps(GOOD))


def test_edges_are_those_of_the_metrics_and_others_between() -> None:
    assert set(BUCKETS_S) <= set(EDGES_S)
    assert all(1 < b / a <= MAX_EDGE_RATIO + 1e-9 for a, b in pairwise(EDGES_S))


def test_an_edge_belongs_to_the_bucket_below_it_as_in_the_metrics() -> None:
    outcomes = recorded([(EDGES_S[3],)])
    assert outcomes.latencies[3] == 1
    assert outcomes.slower()[2:4] == [1, 0]


@settings(max_examples=40)
@given(ANSWERS, ANSWERS)
def test_sums_and_differences_are_those_of_the_answers(first: Any, second: Any) -> None:
    both = recorded(first + second)
    assert recorded(first) + recorded(second) == both
    assert both.since(recorded(first)) == recorded(second)


def test_counting_that_began_anew_is_told() -> None:
    answer = (0.1, False, True)
    with pytest.raises(InputError, match="answers fell from 2 to 1: counting began anew"):
        recorded([answer]).since(recorded([answer] * 2))
    slow = (0.2, False, True)
    with pytest.raises(InputError, match="latencies fell"):
        recorded([slow] * 2).since(recorded([answer]))


@settings(max_examples=40)
@given(ANSWERS)
def test_json_keeps_every_count(answers: Any) -> None:
    outcomes = recorded(answers)
    assert Outcomes.from_json(outcomes.to_json()) == outcomes
    assert Outcomes.from_json(outcomes.to_json().encode()) == outcomes


def test_json_is_short() -> None:
    random = np.random.default_rng(0)
    outcomes = Outcomes(answers=10**7, latencies=[0] * N_BUCKETS)
    for seconds in random.lognormal(np.log(0.002), 0.5, 1_000):
        outcomes.latencies[int(np.searchsorted(EDGES_S, seconds))] += 10**4
    assert len(Outcomes.from_json(outcomes.to_json()).to_json()) < 500


GOOD = json.loads(recorded([(0.1, False, True), (0.1, True)]).to_json())


@pytest.mark.parametrize(
    "damage",
    [
        {"answers": -1},
        {"answers": 2.5},
        {"answers": True},
        {"answers": "2"},
        {"answers": None},
        {"answers": 3},  # more than are timed or errors
        {"empty": 2},  # more than are right
        {"unready": 1},  # it is timed
        {"answers": 3, "unready": 1, "degraded": 2},  # more than are timed
        {"answers": 3, "unready": 1, "popular": 2},
        {"unready": None},
        {"buckets": 19},
        {"latencies": []},
        {"latencies": {"x": 1}},
        {"latencies": {"-1": 1}},
        {"latencies": {"58": 1}},
        {"latencies": {"3": None}},
    ],
)
def test_damaged_counts_are_one_clear_error(damage: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="counts of answers can't be read: "):
        Outcomes.from_json(json.dumps({**GOOD, **damage}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", b"\xff", "[" * 100_000])
def test_text_of_another_kind_is_one_clear_error(text: str | bytes) -> None:
    with pytest.raises(StoreError, match="counts of answers can't be read: "):
        Outcomes.from_json(text)


def test_quantiles_are_those_of_the_answers_to_within_a_bucket() -> None:
    seconds = np.random.default_rng(1).lognormal(np.log(0.02), 0.8, 2_000)
    outcomes = recorded([(s,) for s in seconds.tolist()])
    for share in (0.05, 0.5, 0.95, 1.0):
        expected = np.quantile(seconds, share)
        assert outcomes.quantile_s(share) == pytest.approx(expected, rel=MAX_EDGE_RATIO - 1)


def test_quantiles_at_the_ends() -> None:
    assert Outcomes().quantile_s(0.5) is None
    assert recorded([(1.0, True, False, False, False)]).quantile_s(0.5) is None
    assert recorded([(60.0, False, False, False, False)]).quantile_s(0.5) == EDGES_S[-1]
    quantile = recorded([(0.0, False, False, False, False)]).quantile_s(0.5)
    assert quantile == EDGES_S[0] / 2


def test_recording_is_cheap() -> None:
    outcomes = Outcomes()
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(5_000):
            outcomes.record(0.0123, error=False, empty=False, short=False, degraded=True)
        best = min(best, (time.process_time() - start) / 5_000)
    assert best < 2e-6
