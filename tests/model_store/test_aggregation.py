"""Adaptive aggregation, equations 5 to 7 of Llama4Rec."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.aggregation import Weighting, aggregate, long_tail_coefficient

COUNTS = [3, 4, 5, 10, 100]


def test_the_coefficient_is_the_logarithm_of_interactions_and_one() -> None:
    assert long_tail_coefficient(0) == 0.0
    assert long_tail_coefficient(19) == pytest.approx(math.log(20))


def test_the_weight_falls_from_alpha_1_to_its_cut_off() -> None:
    weighting = Weighting.of_users(COUNTS, alpha_1=0.5, alpha_2=0.1)
    assert weighting.weight(3) == pytest.approx(0.5)
    assert weighting.weight(100) == pytest.approx(0.05)
    middle = (math.log(101) - math.log(11)) / (math.log(101) - math.log(4)) * 0.5
    assert weighting.weight(10) == pytest.approx(middle)


def test_users_outside_the_training_range_get_the_nearest_weight() -> None:
    weighting = Weighting.of_users(COUNTS, alpha_1=0.5, alpha_2=0.1)
    assert weighting.weight(0) == weighting.weight(3)
    assert weighting.weight(100_000) == pytest.approx(0.05)


def test_users_who_are_all_alike_get_alpha_1() -> None:
    assert Weighting.of_users([7, 7, 7], alpha_1=0.3, alpha_2=0.1).weight(7) == 0.3


def test_the_fifth_with_the_fewest_interactions_is_the_tail() -> None:
    weighting = Weighting.of_users(range(1, 101), alpha_1=0.5, alpha_2=0.1)
    assert weighting.tail_interactions == 20
    assert weighting.is_tail(20)
    assert not weighting.is_tail(21)


def test_nobody_is_in_the_tail_where_the_language_model_has_no_weight() -> None:
    assert not Weighting.of_users(COUNTS, alpha_1=0.0, alpha_2=0.1).is_tail(3)


def test_a_reversed_range_is_rejected() -> None:
    with pytest.raises(ValidationError, match="l_min"):
        Weighting(alpha_1=0.5, alpha_2=0.1, l_min=3.0, l_max=2.0, tail_interactions=3)


scores_of = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=20)


@given(scores_of, st.floats(0, 1))
def test_aggregation_reorders_and_loses_no_candidate(scores: list[float], weight: float) -> None:
    assert sorted(aggregate(scores, weight)) == list(range(len(scores)))


@given(scores_of)
def test_without_weight_the_order_is_the_recommenders(scores: list[float]) -> None:
    assert list(aggregate(scores, 0.0)) == list(range(len(scores)))


@given(scores_of)
def test_with_full_weight_the_order_is_the_language_models(scores: list[float]) -> None:
    expected = np.argsort(-np.array(scores), kind="stable")
    assert list(aggregate(scores, 1.0)) == list(expected)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20, unique=True))
def test_a_candidate_that_both_rank_first_stays_first(scores: list[float]) -> None:
    scores = sorted(scores, reverse=True)
    assert aggregate(scores, 0.5)[0] == 0


def test_equal_utilities_keep_the_recommenders_order() -> None:
    # Places 1, 2, 3 and 3, 2, 1: all have a mean of 2.
    assert list(aggregate([1.0, 2.0, 3.0], 0.5)) == [0, 1, 2]
