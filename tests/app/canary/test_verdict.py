"""Verdicts on canaries, and the reasons given."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.canary.bounds import Bounds
from app.canary.findings import ALPHA_SHARES, CRITERIA, RATES
from app.canary.outcomes import COUNTS, EDGES_S, N_BUCKETS, Outcomes
from app.canary.verdict import judge
from model_store.errors import ConfigError
from tests.app.canary.simulation import ACTIVE, BAD, Counted, judge_runs, may_be_worse


def outcomes_of(
    answers: int, *, seconds: float = 0.002, errors: int = 0, **counts: int
) -> Outcomes:
    """Counts of answers that all took about as long, some a bucket more or less."""
    outcomes = Outcomes(answers=answers, errors=errors, **counts)
    bucket = int(np.searchsorted(EDGES_S, seconds))
    timed = answers - errors
    outcomes.latencies[bucket - 1 : bucket + 2] = [timed // 4, timed - 2 * (timed // 4), timed // 4]
    return outcomes


MANY = outcomes_of(24_000, errors=48)


@pytest.mark.parametrize("name", BAD)
def test_every_bad_canary_is_found_within_half_a_minute_and_never_called_fine(name: str) -> None:
    runs = judge_runs(BAD[name], runs=200, seconds=30, seed=1)
    assert [run for run in runs if run.worse is None or run.fine is not None] == []


def test_a_good_canary_is_never_called_worse_and_always_fine_in_ten_minutes() -> None:
    runs = judge_runs(ACTIVE, runs=200, seconds=600, seed=1, fine_every=30)
    assert [run for run in runs if run.worse is not None or run.fine is None] == []


def test_the_reason_names_the_figures() -> None:
    verdict = judge(MANY, outcomes_of(1_250, errors=51), Bounds())
    assert (verdict.word, verdict.reason) == (
        "worse",
        "errors 4.1 % of 1,250 answers, active 0.2 % of 24,000; bound +1 point; p < 0.001",
    )


def test_every_criterion_that_is_worse_is_named() -> None:
    canary = outcomes_of(300, seconds=0.005, empty=30, short=40, degraded=50, popular=60)
    verdict = judge(MANY, canary, Bounds())
    assert verdict.word == "worse"
    empty, short, degraded, popular, latency = (
        verdict.reason[verdict.reason.index(name) :] for name in CRITERIA[1:]
    )
    assert empty.startswith(
        "empty 10.0 % of 300 answers, active 0 % of 24,000; bound +1 point; p <"
    )
    assert short.startswith("short 13.3 % of 300")
    assert "bound +2 points" in short
    assert degraded.startswith("degraded 16.7 % of 300")
    assert popular.startswith("popular 20.0 % of 300")
    assert latency.startswith("latency p95 5.9 ms of 300 answers, active 2.36 ms of 23,952;")
    assert latency.endswith("bound 1.5 times as long; p < 0.001")


@pytest.mark.parametrize(
    ("active", "canary", "reason"),
    [
        (MANY, Outcomes(), "no answers of the canary yet"),
        (Outcomes(), Outcomes(), "no answers of the canary yet"),
        (Outcomes(), outcomes_of(5_000), "no answers of the active version yet"),
        (Outcomes(), outcomes_of(5_000, errors=5_000), "no answers of the active version yet"),
        (MANY, outcomes_of(400), "400 answers of the canary; 500 are needed"),
        (
            MANY,
            outcomes_of(1_000, errors=11),
            "not shown to be within bounds after 1,000 answers: errors",
        ),
        (
            outcomes_of(20, errors=20),
            outcomes_of(600, errors=600),
            "not shown to be within bounds after 600 answers: " + ", ".join(CRITERIA),
        ),
    ],
)
def test_why_it_waits(active: Outcomes, canary: Outcomes, reason: str) -> None:
    verdict = judge(active, canary, Bounds())
    assert (verdict.word, verdict.reason) == ("waiting", reason)


def test_the_shares_of_the_level_make_one() -> None:
    assert set(ALPHA_SHARES) == set(CRITERIA)
    assert sum(ALPHA_SHARES.values()) == pytest.approx(1.0)


def test_fine() -> None:
    verdict = judge(MANY, outcomes_of(2_000, errors=4), Bounds())
    assert verdict.word == "fine"
    assert verdict.reason == "shown to be within every bound after 2,000 answers"
    assert [finding.state for finding in verdict.findings] == ["holds"] * len(CRITERIA)


def test_a_canary_is_fine_where_most_answers_are_by_popularity() -> None:
    """As in a shop of many visitors whom nobody knows."""
    for share in (0.5, 0.8, 0.95):
        active, canary = (outcomes_of(n, popular=round(share * n)) for n in (190_000, 10_000))
        assert judge(active, canary, Bounds()).word == "fine"


def test_answers_before_the_reranker_is_there_show_no_canary_fine_but_may_show_it_worse() -> None:
    loading = Outcomes(answers=100_000, unready=100_000)
    verdict = judge(MANY, loading, Bounds())
    assert verdict.word == "waiting"
    assert verdict.reason.startswith("0 answers of the canary; 500 are needed, and 100,000 came")
    for degraded, word in ((0, "fine"), (200, "worse")):
        later = outcomes_of(3_000, errors=6, degraded=degraded)
        assert judge(MANY, loading + later, Bounds()).word == word
    failing = Outcomes(answers=300, errors=30, unready=270)
    assert judge(MANY, failing, Bounds()).word == "worse"


def test_a_canary_within_its_bounds_is_not_worse_however_sure_the_difference_is() -> None:
    active = outcomes_of(10**7)
    for canary in (
        outcomes_of(10**6, errors=9_900),
        outcomes_of(10**6, degraded=49_000),
        outcomes_of(10**6, popular=49_000),
        outcomes_of(10**6, seconds=0.0025),
    ):
        assert judge(active, canary, Bounds()).word != "worse"


def test_a_single_bad_answer_is_no_verdict() -> None:
    for count in RATES:
        assert judge(MANY, outcomes_of(1, **{count: 1}), Bounds()).word == "waiting"


def test_a_broken_canary_is_found_after_a_few_answers() -> None:
    assert judge(MANY, outcomes_of(5, errors=5), Bounds()).word == "worse"


def test_slow_answers_are_found_in_the_range_where_the_metrics_buckets_are_wide() -> None:
    active = outcomes_of(24_000, seconds=0.11)
    assert judge(active, outcomes_of(300, seconds=0.2), Bounds()).word == "worse"
    assert judge(active, outcomes_of(3_000, seconds=0.11), Bounds()).word == "fine"


def test_a_slow_tail_alone_is_found() -> None:
    canary = outcomes_of(300)
    canary.latencies[10] -= 30
    canary.latencies[30] += 30
    verdict = judge(MANY, canary, Bounds())
    assert verdict.word == "worse"
    assert verdict.reason.startswith("latency p95")


def counted(outcomes: Outcomes) -> Counted:
    counts = {name: np.array([[getattr(outcomes, name)]]) for name in COUNTS}
    return Counted(**counts, latencies=np.array([[outcomes.latencies]]))


@st.composite
def any_outcomes(draw: st.DrawFn) -> Outcomes:
    """Often with most answers in a few buckets."""
    latencies = [0] * N_BUCKETS
    for bucket in draw(st.lists(st.integers(0, N_BUCKETS - 1), max_size=4)):
        latencies[bucket] += draw(st.integers(0, 2_000))
    timed = sum(latencies)
    errors = draw(st.integers(0, 200))
    unready = draw(st.sampled_from([0, 0, 700]))
    counts = [draw(st.integers(0, min(timed, 300))) for _ in RATES[1:]]
    return Outcomes(timed + errors + unready, errors, *counts, latencies, unready)


@settings(max_examples=100)
@given(any_outcomes(), any_outcomes())
def test_any_counts_have_a_verdict_that_is_json_and_worse_needs_a_bound_exceeded(
    active: Outcomes, canary: Outcomes
) -> None:
    verdict = judge(active, canary, Bounds())
    assert json.loads(json.dumps(verdict.to_document(), allow_nan=False))["word"] == verdict.word
    if verdict.word == "worse":
        assert may_be_worse(counted(active), counted(canary), Bounds()).all()
    if verdict.word == "fine":
        assert canary.answers - canary.unready >= 500


@pytest.mark.parametrize(
    "wrong",
    [
        {"errors": 0.0},
        {"degraded": 5},
        {"popular": -0.1},
        {"alpha": 1.0},
        {"alpha": float("nan")},
        {"slowdown": 1.0},
        {"slowdown": float("nan")},
        {"min_answers": 0},
    ],
)
def test_bounds_that_mean_nothing_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Bounds(**wrong)
