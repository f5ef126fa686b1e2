from __future__ import annotations

from copy import deepcopy
from typing import Any, get_args

import pytest

from app.recommend.query import ServedBy
from app.reranking.outcome import RerankOutcome
from loadtest.answers import (
    RERANK,
    SERVED_BY,
    describe_failure,
    find_event_fault,
    find_recommend_fault,
    find_similar_fault,
)

GOOD: dict[str, Any] = {
    "request_id": "r1",
    "user_id": "196",
    "model_version": "2026-11-21-1",
    "served_by": "model",
    "rerank": "skipped",
    "degraded": [],
    "items": [
        {"item_id": "318", "rank": 1, "score": 7.31, "explanation": None},
        {"item_id": "50", "rank": 2, "score": 7, "explanation": None},
    ],
    "timings_ms": {"features": 0.2, "inference": 0.4, "rerank": 0.0, "total": 0.9},
}


def test_an_answer_as_in_the_contract_has_no_fault() -> None:
    assert find_recommend_fault(200, GOOD, k=2, user_id="196") is None
    assert find_recommend_fault(200, {**GOOD, "user_id": None}, k=2) is None


def test_the_words_are_those_of_the_service() -> None:
    """Versions of every kind can be load-tested."""
    assert set(get_args(ServedBy)) == SERVED_BY
    assert set(get_args(RerankOutcome)) == RERANK


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"request_id": ""}, "request_id is missing"),
        ({"model_version": None}, "model_version is missing"),
        ({"served_by": "cache"}, "served_by is 'cache'"),
        ({"rerank": None}, "rerank is None"),
        ({"degraded": None}, "degraded is not a list"),
        ({"user_id": "197"}, "user_id is '197'"),
        ({"items": GOOD["items"][:1]}, "1 items instead of 2"),
        ({"items": None}, "no list of items instead of 2"),
        ({"items": [GOOD["items"][0]] * 2}, "item 2 is labelled rank 1"),
        ({"timings_ms": {"total": 1.0}}, "timings_ms has no features"),
        ({"timings_ms": None}, "timings_ms is missing"),
    ],
)
def test_every_broken_promise_is_a_fault(change: dict[str, Any], fault: str) -> None:
    found = find_recommend_fault(200, {**GOOD, **change}, k=2, user_id="196")
    assert found is not None
    assert fault in found


def test_an_item_recommended_twice_is_a_fault() -> None:
    answer = deepcopy(GOOD)
    answer["items"][1]["item_id"] = "318"
    assert find_recommend_fault(200, answer, k=2) == "an item is recommended twice"


@pytest.mark.parametrize("score", [None, "7"])
def test_an_item_without_a_score_is_a_fault(score: object) -> None:
    answer = deepcopy(GOOD)
    answer["items"][1]["score"] = score
    assert find_recommend_fault(200, answer, k=2) == "item 2 has no score"


def test_a_failed_answer_is_described_in_the_services_own_words() -> None:
    assert find_recommend_fault(429, {"detail": "too busy"}, k=2) == "status 429: too busy"
    assert find_recommend_fault(502, None, k=2) == "status 502"
    assert len(describe_failure(500, {"detail": "x" * 1_000})) < 200


def test_similar_items_and_events_are_checked_too() -> None:
    assert find_similar_fault(200, {"items": GOOD["items"]}) is None
    assert find_similar_fault(200, {"items": []}) == "the answer names no similar items"
    assert find_similar_fault(404, {"title": "no such item"}) == "status 404: no such item"
    assert find_event_fault(202, {}) is None
    assert find_event_fault(422, {"detail": "user_id"}) == "status 422: user_id"
