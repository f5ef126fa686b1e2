from __future__ import annotations

import numpy as np
import pytest

from offline.recommender.negatives import NegativeSampler, inclusion_probabilities

COUNTS = np.array([1, 1, 4, 9, 10_000, 100, 1, 16], dtype=np.int64)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_items_are_drawn_with_their_stated_probability(size: int) -> None:
    sampler = NegativeSampler(COUNTS, size)
    rng = np.random.default_rng(0)
    times = np.zeros(len(COUNTS))
    for _ in range(4_000):
        rows, logs = sampler.draw(rng)
        assert len(set(rows.tolist())) == len(rows) == size
        times[rows] += 1
    chances = inclusion_probabilities(COUNTS**0.5, size)
    np.testing.assert_allclose(times / 4_000, chances, atol=0.03)
    np.testing.assert_allclose(np.exp(logs), chances[rows], rtol=1e-5)


def test_chances_are_in_proportion_up_to_certainty() -> None:
    chances = inclusion_probabilities(np.array([1.0, 2.0, 3.0, 50.0]), 2)
    np.testing.assert_allclose(chances, [1 / 6, 2 / 6, 3 / 6, 1.0])


def test_any_two_items_meet_in_a_draw() -> None:
    """Else what is told apart would be the same sets again and again."""
    sampler = NegativeSampler(np.ones(6, np.int64), 2)
    rng = np.random.default_rng(1)
    pairs = {tuple(sorted(sampler.draw(rng)[0].tolist())) for _ in range(500)}
    assert len(pairs) == 15
