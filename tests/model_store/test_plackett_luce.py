"""Rankings are drawn with the probabilities that are told."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from model_store.plackett_luce import draw, log_propensities

LOGITS = np.array([1.2, 0.3, 0.0, -0.8])


def exact(ranking: tuple[int, ...]) -> float:
    weights, share, left = np.exp(LOGITS), 1.0, float(np.exp(LOGITS).sum())
    for position in ranking:
        share *= weights[position] / left
        left -= weights[position]
    return share


def test_rankings_come_as_often_as_their_probability() -> None:
    rng = np.random.default_rng(11)
    n = 6_000
    rankings = [*permutations(range(4), 2)]
    drawn = [tuple(draw(LOGITS, 2, rng).tolist()) for _ in range(n)]
    counts = [drawn.count(ranking) for ranking in rankings]
    assert sum(counts) == n
    expected = [n * exact(ranking) for ranking in rankings]
    assert stats.chisquare(counts, expected).pvalue > 0.01


@pytest.mark.parametrize("ranking", [(0,), (3, 0), (2, 1, 0), (0, 1, 2, 3)])
def test_propensities_multiply_to_that_of_the_ranking(ranking: tuple[int, ...]) -> None:
    found = log_propensities(LOGITS, np.array(ranking))
    assert float(np.exp(found.sum())) == pytest.approx(exact(ranking))
    if len(ranking) == len(LOGITS):
        assert found[-1] == 0.0  # the last one is certain


def test_large_logits_do_not_overflow() -> None:
    found = log_propensities(np.array([5_000.0, 4_000.0, -5_000.0]), np.array([1, 0]))
    np.testing.assert_allclose(found, [-1_000.0, 0.0])


def test_the_same_state_draws_the_same() -> None:
    first, again = (draw(LOGITS, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert sorted(draw(LOGITS, 9, np.random.default_rng(5)).tolist()) == [0, 1, 2, 3]
