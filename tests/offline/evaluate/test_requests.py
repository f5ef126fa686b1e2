"""What an evaluation asks a service: default requests, within the service's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.http.requests import MAX_BODY_BYTES, RecommendRequest
from offline.evaluate.served import MAX_IDS, history_fields


def request(past: list[str]) -> dict[str, Any]:
    """The request as the service takes it."""
    fields = {"user_id": "u", "k": 10, "rerank": "never", **history_fields(past)}
    RecommendRequest.model_validate(fields)
    return fields


def test_a_request_says_nothing_but_the_history() -> None:
    """So the service's defaults hold: items of the history are left out."""
    assert request(["a", "b", "a"])["history"] == ["a", "b", "a"]
    assert history_fields(["a", "b", "a"]).keys() == {"history"}


def test_a_history_that_is_too_long_is_cut_and_its_other_items_are_left_out_by_name() -> None:
    past = [f"i{n % 12_000}" for n in range(15_000)]
    asked = request(past)
    assert asked["history"] == past[-MAX_IDS:]
    assert len(asked["exclude"]) == 2_000
    assert {*asked["history"], *asked["exclude"]} == set(past)


def test_of_more_items_than_a_request_holds_the_newest_are_left_out() -> None:
    past = [f"i{n}" for n in range(25_000)]
    assert request(past)["exclude"] == past[-MAX_IDS - 1 : -2 * MAX_IDS - 1 : -1]


@pytest.mark.parametrize("letter", ["x", "é", "語", "\U0001f3ac", '"'])
def test_long_ids_fit_into_a_body(letter: str) -> None:
    past = [letter * 500 + str(n) for n in range(10_500)]
    body = json.dumps(request(past), ensure_ascii=False).encode()
    assert len(body) < MAX_BODY_BYTES
    assert request(past)["history"] == past[-len(request(past)["history"]) :]


def test_the_limit_is_the_services() -> None:
    with pytest.raises(ValidationError):
        RecommendRequest.model_validate({"history": ["a"] * (MAX_IDS + 1)})
