"""Laws of the reasons that come with items."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.synthetic_bundle import MAX_LENGTH

law = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Few different items, so that most stand in a history more than once.
histories = st.lists(st.integers(1, 9).map(lambda n: f"i{n}"), min_size=1, max_size=70)


def explain(http: TestClient, history: list[str], k: int = 5) -> list[dict[str, Any]]:
    request = {"history": history, "k": k, "explain": True, "exclude_seen": False}
    response = http.post("/recommend", json=request)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    assert all(item["explanation"]["stage"] == "model" for item in items)
    return items


def score_without(http: TestClient, history: list[str], past: str) -> dict[str, float]:
    rest = [item_id for item_id in history if item_id != past]
    request = {"history": rest, "k": 60, "exclude_seen": False}
    items = http.post("/recommend", json=request).json()["items"]
    return {item["item_id"]: item["score"] for item in items}


def contributions_of(item: dict[str, Any]) -> dict[str, float]:
    return {reason["item_id"]: reason["contribution"] for reason in item["explanation"]["because"]}


def left_by_rounding(*numbers: float) -> float:
    """What numbers of six digits may miss together, and float32 sums of them."""
    halves = (0.5 * 10 ** (math.floor(math.log10(abs(number))) - 5) for number in numbers if number)
    return sum(halves) + 2e-6 * max(1.0, *map(abs, numbers))


@law
@given(history=histories)
@example(history=["i5", "i3", "i6", "i6", "i5", "i6"])
@example(history=["i4", "i2"])
def test_contributions_and_the_remainder_add_up_to_the_score(
    http: TestClient, history: list[str]
) -> None:
    for item in explain(http, history):
        contributions = contributions_of(item)
        assert set(contributions) <= set(history)
        assert list(contributions.values()) == sorted(contributions.values(), reverse=True)
        assert all(contribution > 0 for contribution in contributions.values())
        remainder = item["explanation"]["remainder"]
        assert sum(contributions.values()) + remainder == pytest.approx(
            item["score"], abs=left_by_rounding(remainder)
        )
        rounded = left_by_rounding(item["score"], *contributions.values())
        assert contributions or item["score"] <= rounded
        if len(set(history[-MAX_LENGTH:])) <= 3:
            # Items that are not named lower the score.
            assert remainder <= rounded


@law
@given(history=histories.filter(lambda history: len(set(history[-MAX_LENGTH:])) > 1))
def test_items_that_matter_more_get_a_larger_share(http: TestClient, history: list[str]) -> None:
    history = history[-MAX_LENGTH:]
    items = explain(http, history, k=3)
    losses = {past: score_without(http, history, past) for past in set(history)}
    for item in items:
        contributions = contributions_of(item)
        for one, share in contributions.items():
            for other, less in contributions.items():
                lost, lost_without_other = (
                    item["score"] - losses[past][item["item_id"]] for past in (one, other)
                )
                # The part that belongs to no single item is divided equally, so differences stay.
                assert share - less == pytest.approx(lost - lost_without_other, abs=1e-4)


def test_an_item_that_stands_fifty_times_leaves_others_their_share(http: TestClient) -> None:
    """The window ends with fifty places of one item, or holds it almost everywhere."""
    for history in (
        [*["i1"] * (MAX_LENGTH - 2), "i2", "i3"],
        ["i2", *["i1"] * (MAX_LENGTH - 2), "i3"],
        ["i4", "i5", *(["i1", "i2"] * 40), "i3"],
    ):
        named = {past for item in explain(http, history, k=60) for past in contributions_of(item)}
        assert {"i1", "i3"} <= named
        for item in explain(http, history, k=60):
            if set(contributions_of(item)) == {"i1"}:
                # Then the others lower the score, and the answer shows it.
                assert item["explanation"]["remainder"] < 0


def test_the_only_item_of_a_history_has_all_of_the_score(http: TestClient) -> None:
    for times in (1, 50, 80):
        for item in explain(http, ["i7"] * times, k=5):
            assert contributions_of(item) == {"i7": pytest.approx(item["score"])}
            assert item["explanation"]["remainder"] == pytest.approx(0, abs=1e-6)


def test_reasons_have_titles(http: TestClient) -> None:
    for item in explain(http, ["i1", "i2", "i3"]):
        for reason in item["explanation"]["because"]:
            assert reason["title"].endswith(f" {reason['item_id'][1:]}")
