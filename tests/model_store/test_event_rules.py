from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.event_rules import CONTEXT, DISLIKES, NEGATIVE, EventRules


@pytest.mark.parametrize("name", DISLIKES)
def test_a_dislike_is_one_without_any_rule(name: str) -> None:
    assert EventRules().weigh(name) == NEGATIVE
    assert EventRules().weigh(name, 5.0) == NEGATIVE


@given(st.text(min_size=1), st.none() | st.floats(-1e9, 1e9))
def test_all_else_is_positive_and_equal_unless_a_recipe_decides(
    name: str, rating: float | None
) -> None:
    assert EventRules().weigh(name, rating) == (NEGATIVE if name in DISLIKES else 1.0)


def test_types_come_before_ratings_and_ratings_before_weights() -> None:
    rules = EventRules(
        weights={"purchase": 3.0},
        negative=("return",),
        context=("impression",),
        positive_from=4,
        negative_to=2,
    )
    assert rules.weigh("return", 5) == NEGATIVE
    assert rules.weigh("impression", 5) == CONTEXT
    assert [rules.weigh("purchase", rating) for rating in (None, float("nan"), 4, 3.9, 2)] == [
        3.0,
        3.0,
        3.0,
        CONTEXT,
        NEGATIVE,
    ]
    assert rules.weigh("dislike") == 1.0  # the recipe names the negative ones itself


def test_one_threshold_alone() -> None:
    assert [EventRules(positive_from=4).weigh("view", r) for r in (3, 4)] == [CONTEXT, 1.0]
    assert [EventRules(negative_to=2).weigh("view", r) for r in (2, 3)] == [NEGATIVE, 1.0]


def test_a_threshold_is_compared_as_ratings_are_stored() -> None:
    assert EventRules(positive_from=4.1).weigh("view", 4.1) == 1.0
    as_stored = 4.099999904632568  # 4.1 as float32
    assert EventRules(positive_from=4.1).weigh("view", as_stored) == 1.0
    assert EventRules(negative_to=2.2).weigh("view", 2.2) == NEGATIVE


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"negative": ["view"], "context": ["view"]}, "'view' stands in negative and in context"),
        ({"weights": {"dislike": 2}}, "'dislike' stands in weights and in negative"),
        ({"positive_from": 2, "negative_to": 2}, "negative_to 2 is not below positive_from 2"),
        ({"weights": {"view": 0}}, "greater than 0"),
    ],
)
def test_rules_that_contradict_each_other_are_rejected(
    rules: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        EventRules.model_validate_json(json.dumps(rules))
