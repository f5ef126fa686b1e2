"""Ratings are mixed by equations 6 and 7, with weights that validation chooses."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.aggregation import Weighting
from offline.instruction.rating_aggregation import aggregate_ratings, choose_rating_weighting

COUNTS = np.array([1, 10, 100, 1, 10, 100])
BASE = np.array([2, 3, 4, 3, 2, 5], np.float32)
OTHER = np.array([4, 4, 1, 5, 1, 2], np.float32)


def test_ratings_are_interpolated_by_the_users_weight() -> None:
    weighting = Weighting.of_users([1, 10, 100], 0.8, 0.25)
    mixed = aggregate_ratings(BASE, OTHER, COUNTS, weighting)
    for place, count in enumerate(COUNTS):
        ratio = (np.log(101) - np.log(count + 1)) / (np.log(101) - np.log(2))
        alpha = max(ratio, 0.25) * 0.8
        expected = alpha * OTHER[place] + (1 - alpha) * BASE[place]
        assert mixed[place] == pytest.approx(expected, abs=1e-6)


def test_the_weighting_with_the_least_error_is_chosen() -> None:
    true = Weighting.of_users([1, 10, 100], 0.7, 0.3)
    values = aggregate_ratings(BASE, OTHER, COUNTS, true)
    chosen = choose_rating_weighting(BASE, OTHER, values, COUNTS, [1, 10, 100])
    assert (chosen.alpha_1, chosen.alpha_2) == (0.7, 0.3)


def test_a_model_that_does_not_help_gets_no_weight() -> None:
    chosen = choose_rating_weighting(BASE, OTHER, BASE, COUNTS, [1, 10, 100])
    assert chosen.alpha_1 == 0
    assert aggregate_ratings(BASE, OTHER, COUNTS, chosen).tolist() == BASE.tolist()
