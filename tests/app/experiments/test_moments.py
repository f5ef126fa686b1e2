"""Moments of an arm, kept up to date event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.experiments.moments import Moments, UserSums, change
from model_store.errors import StoreError

USERS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda n: UserSums(*n)))
GOOD = Moments.of([UserSums(3, 1), UserSums(1, 0)]).to_counts()


def test_moments_of_two_users() -> None:
    moments = Moments.of([UserSums(3, 1), UserSums(2, 2), UserSums()])
    assert moments == Moments(2, 5, 3, 13, 5, 7)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(1, 4))))
def test_events_one_by_one_give_the_moments_of_the_sums(
    events: list[tuple[int, bool, int]],
) -> None:
    """Exposures and clicks of four users in any order, several at once."""
    users = [UserSums()] * 4
    moments = Moments()
    for user, is_click, n in events:
        old = users[user]
        new = UserSums(old.exposures + n * (not is_click), old.clicks + n * is_click)
        moments += change(old, new)
        users[user] = new
    assert moments == Moments.of(users)


@settings(max_examples=40)
@given(USERS)
def test_a_forgotten_user_leaves_nothing(users: list[UserSums]) -> None:
    forgotten = sum((change(user, UserSums()) for user in users), Moments.of(users))
    assert forgotten == Moments()


@settings(max_examples=40)
@given(USERS, USERS)
def test_moments_add_up_and_survive_json(first: list[UserSums], second: list[UserSums]) -> None:
    moments = Moments.of(first) + Moments.of(second)
    assert moments == Moments.of(first + second)
    assert Moments.from_json(moments.to_json()) == moments


def test_counters_of_a_store_are_read() -> None:
    counters = {"users": b"2", "exposures": "5", "exposures_squared": 13}
    assert Moments.from_counts(counters) == Moments(2, 5, 0, 13)
    assert Moments.from_counts({}) == Moments()


@pytest.mark.parametrize(
    "damage",
    [
        {"users": -1},
        {"users": 1},  # with these squares there are two
        {"exposures": 9},
        {"clicks": None},
        {"clicks": 1.0},
        {"clicks": True},
        {"products": 40},
        {"more": 1},
    ],
)
def test_damaged_moments_are_one_clear_error(damage: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="moments of an arm can't be read: "):
        Moments.from_json(json.dumps({**GOOD, **damage}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", b"\xff", "[" * 100_000])
def test_text_of_another_kind_is_one_clear_error(text: str | bytes) -> None:
    with pytest.raises(StoreError, match="moments of an arm can't be read: "):
        Moments.from_json(text)


@pytest.mark.parametrize("counter", [b"x", "", "1.5", b"\xff"])
def test_a_damaged_counter_is_one_clear_error(counter: str | bytes) -> None:
    with pytest.raises(StoreError, match="moments of an arm can't be read: "):
        Moments.from_counts({"users": counter})
