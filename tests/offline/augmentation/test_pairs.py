from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from model_store.rerank_prompt import PromptLayout
from offline.augmentation.pairs import (
    Pairs,
    Triples,
    draw_pairs,
    observed_triples,
    rank_pairs,
)
from offline.instruction.label_scorer import Float32
from tests.offline.augmentation.test_sequences import TITLES, TitleScorer

SEQUENCES = [np.array(row, np.int32) for row in ([1, 2, 3], [], [4], list(range(1, 9)))]
N_ITEMS = 8
LAYOUT = PromptLayout(n_history=2)


class FirstLabel(TitleScorer):
    """Answers A, whatever it stands for, and hardly minds which film it is."""

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        liked = super().scores(prompts, n_labels)
        return [0.01 * of_prompt + np.array([5.0, 0.0], np.float32) for of_prompt in liked]


def test_observed_triples_have_each_interaction_and_an_unknown_item() -> None:
    triples = observed_triples(SEQUENCES, N_ITEMS, seed=0)
    assert triples.users.tolist() == [0, 0, 0, 2]  # user 3 has everything
    assert triples.preferred.tolist() == [1, 2, 3, 4]
    for user, other in zip(triples.users, triples.others, strict=True):
        assert other not in SEQUENCES[user]
        assert 1 <= other <= N_ITEMS


def test_pairs_are_different_items_that_the_user_does_not_have() -> None:
    pairs = draw_pairs(SEQUENCES, N_ITEMS, per_user=2, seed=0)
    assert pairs.users.tolist() == [0, 0, 2, 2]
    for user, first, second in zip(pairs.users, pairs.first, pairs.second, strict=True):
        assert first != second
        assert not {int(first), int(second)} & set(SEQUENCES[user].tolist())
    again = draw_pairs(SEQUENCES, N_ITEMS, per_user=2, seed=0)
    assert pairs.first.tolist() == again.first.tolist()


@pytest.mark.parametrize("scorer", [TitleScorer(), FirstLabel()])
def test_each_pair_becomes_the_triple_that_the_model_prefers(scorer: TitleScorer) -> None:
    pairs = Pairs(*(np.array(row, np.int32) for row in ([0, 2], [5, 7], [6, 1])))
    triples = rank_pairs(pairs, SEQUENCES, TITLES, LAYOUT, scorer)
    assert triples.users.tolist() == [0, 2]
    assert triples.preferred.tolist() == [6, 7]
    assert triples.others.tolist() == [5, 1]
    assert len(scorer.asked) == 4
    assert "History: film 2; film 3\nCandidates:\nA. film 5\nB. film 6\nAnswer:" in scorer.asked[0]
    assert "A. film 6\nB. film 5" in scorer.asked[1]


def test_no_pairs_are_no_triples() -> None:
    none = draw_pairs(SEQUENCES[1:2], N_ITEMS, per_user=2, seed=0)
    assert len(rank_pairs(none, SEQUENCES, TITLES, LAYOUT, TitleScorer())) == 0


def test_the_augmented_set_has_both_kinds() -> None:
    one = Triples(*(np.array([n], np.int32) for n in (0, 1, 2)))
    both = one.and_also(Triples(*(np.array([n], np.int32) for n in (3, 4, 5))))
    assert (both.users.tolist(), both.preferred.tolist(), both.others.tolist()) == (
        [0, 3], [1, 4], [2, 5],
    )  # fmt: skip
