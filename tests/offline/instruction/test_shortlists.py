from __future__ import annotations

import numpy as np
import pytest

from model_store.aggregation import Weighting
from offline.instruction.shortlists import (
    Shortlists,
    choose_weighting,
    weigh_all,
    weigh_tail,
    weigh_uniformly,
)

COUNTS = [1, 4, 9, 99]
# Case 1's target isn't among the first 4; two items score as high as case 2's target.
SHORTLISTS = Shortlists(
    ranks=np.array([3, 50, 6]),
    cases=np.array([0, 2]),
    positions=np.array([2, 3]),
    n_interactions=np.array([1, 99]),
)
SCORES = [np.array([0, 1, 9, 2], np.float32), np.array([0, 0, 0, 5], np.float32)]


def test_the_other_ranking_alone_moves_targets_within_the_list() -> None:
    assert SHORTLISTS.reranked(SCORES, weigh_all).tolist() == [1, 50, 3]
    worst = [-of_case for of_case in SCORES]
    assert SHORTLISTS.reranked(worst, weigh_all).tolist() == [4, 50, 6]


def test_without_weight_all_stays_as_it_is() -> None:
    assert SHORTLISTS.reranked(SCORES, lambda _: 0.0).tolist() == [3, 50, 6]
    assert SHORTLISTS.ranks.tolist() == [3, 50, 6]


def test_uniform_fusion_adds_places() -> None:
    # Case 0: places 1 2 3 4 and 4 3 1 2; the target has 4 as the second to last has 5, 5 and 6.
    assert SHORTLISTS.reranked(SCORES, weigh_uniformly)[0] == 1


def test_a_users_weight_comes_from_the_number_of_interactions() -> None:
    asked: list[int] = []

    def weigh(n_interactions: int) -> float:
        asked.append(n_interactions)
        return 1.0 if n_interactions == 1 else 0.0

    assert SHORTLISTS.reranked(SCORES, weigh).tolist() == [1, 50, 6]
    assert asked == [1, 99]


def test_only_tail_users_are_reranked_where_only_they_are_asked() -> None:
    weighting = Weighting.of_users(COUNTS, 0.9, 0.9)
    assert weighting.weight(99) > 0.5
    assert SHORTLISTS.reranked(SCORES, weigh_tail(weighting)).tolist() == [1, 50, 6]


def random_shortlists(n: int = 400) -> tuple[Shortlists, np.ndarray]:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 10, n)
    cases = np.arange(n)
    return Shortlists(positions + 1, cases, positions, rng.choice([1, 99], n)), positions


@pytest.mark.parametrize("helps", ["always", "tail", "never"])
def test_the_choice_follows_where_the_other_ranking_helps(helps: str) -> None:
    shortlists, positions = random_shortlists()
    scores = []
    for position, n_interactions in zip(positions, shortlists.n_interactions, strict=True):
        knows = helps == "always" or (helps == "tail" and n_interactions == 1)
        of_case = np.zeros(10, np.float32)
        of_case[position] = 1.0 if knows else -1.0
        scores.append(of_case)
    chosen = choose_weighting(shortlists, scores, COUNTS)
    weights = {n: chosen.weight(n) for n in (1, 99)}
    if helps == "always":
        assert weights[99] > 0.5
    elif helps == "tail":
        assert weights[1] > 0.5
        assert weights[99] < 0.1
    else:
        assert chosen == Weighting.of_users(COUNTS, 0.0, 0.0)
    before, after = shortlists.ranks, shortlists.reranked(scores, chosen.weight)
    assert after.mean() <= before.mean()


def test_of_equal_choices_the_smallest_is_taken() -> None:
    shortlists, _ = random_shortlists()
    same = [np.arange(10, 0, -1).astype(np.float32) for _ in shortlists.cases]
    assert choose_weighting(shortlists, same, COUNTS).alpha_1 == 0.0
