"""Pairs are drawn for sparse users from training data, and become what a model prefers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from offline.augmentation.config import PairsConfig
from offline.augmentation.pairs import AskedPairs, draw_pairs
from offline.data.preferences import Preferences
from offline.direct.graph import Graph
from offline.direct.triples import TripleSampler
from offline.instruction.label_scorer import Float32
from offline.recommender.recommender import TrainingData
from tests.offline.augmentation.test_sequences import TITLES, TitleScorer

SEQUENCES = [np.array(row, np.int32) for row in ([1, 2, 3], [], [4], list(range(1, 9)))]
DATA = TrainingData(SEQUENCES, 9)  # nobody has item 9
ALL = PairsConfig(share=1.0, per_user=2, n_history=2)


class FirstLabel(TitleScorer):
    """Answers A, whatever it stands for, and hardly minds which film it is."""

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        liked = super().scores(prompts, n_labels)
        return [0.01 * of_prompt + np.array([5.0, 0.0], np.float32) for of_prompt in liked]


def asked(config: PairsConfig = ALL) -> AskedPairs:
    return AskedPairs.of_training(DATA, TITLES, config)


def test_pairs_are_of_sparse_users_and_of_items_that_others_have() -> None:
    pairs = draw_pairs(SEQUENCES, DATA.counts(), ALL)
    assert pairs.users.tolist() == [0, 0, 2, 2]  # user 1 has nothing, user 3 everything
    for user, first, second in zip(pairs.users, pairs.first, pairs.second, strict=True):
        assert first != second
        assert not {int(first), int(second)} & {9, *SEQUENCES[user].tolist()}
    again = draw_pairs(SEQUENCES, DATA.counts(), ALL)
    assert pairs.first.tolist() == again.first.tolist()
    some = draw_pairs(SEQUENCES, DATA.counts(), ALL.model_copy(update={"share": 0.25}))
    assert some.users.tolist() == [2, 2]  # a quarter of four users


@pytest.mark.parametrize("scorer", [TitleScorer(), FirstLabel()])
def test_each_pair_becomes_the_triple_that_the_model_prefers(scorer: TitleScorer) -> None:
    found = asked()
    preferences = found.ranked(scorer.scores(found.prompts, found.n_labels))
    both = np.stack([found.pairs.first, found.pairs.second])
    assert preferences.users.tolist() == found.pairs.users.tolist()
    assert preferences.preferred.tolist() == both.max(axis=0).tolist()
    assert preferences.others.tolist() == both.min(axis=0).tolist()


def test_prompts_show_the_newest_history_and_the_pair_in_either_order() -> None:
    found = asked()
    first, second = (array[0] for array in (found.pairs.first, found.pairs.second))
    history = "History: film 2; film 3\nCandidates:"
    assert f"{history}\nA. film {first}\nB. film {second}\nAnswer:" in found.prompts[0]
    assert f"{history}\nA. film {second}\nB. film {first}\nAnswer:" in found.prompts[1]


def test_no_pairs_are_no_triples() -> None:
    none = asked(PairsConfig())
    assert (len(none.prompts), len(none.ranked([]))) == (0, 0)


def test_an_epoch_has_the_ranked_pairs_beside_the_observed_triples() -> None:
    preferences = Preferences(*(np.array(row, np.int32) for row in ([0, 2], [5, 7], [6, 1])))
    graph = Graph.of_sequences(SEQUENCES, 9)
    sampler = TripleSampler(graph, 4, n_negatives=3, preferences=preferences)
    batches = sampler.batches(np.random.default_rng(0))
    rows = [
        (int(user), int(item), tuple(negatives.tolist()))
        for batch in batches
        for user, item, negatives in zip(batch.users, batch.items, batch.negatives, strict=True)
    ]
    assert len(rows) == len(sampler) == len(graph) + 2
    assert {(0, 5, (6, 6, 6)), (2, 7, (1, 1, 1))} < set(rows)
    observed = {(int(user), int(item)) for user, item in zip(graph.users, graph.items, strict=True)}
    assert observed < {row[:2] for row in rows}


def test_pairs_with_an_item_that_the_user_took_since_are_left_out() -> None:
    preferences = Preferences(*(np.array(row, np.int32) for row in ([0, 0], [5, 7], [6, 4])))
    later = [np.array([1, 2, 3, 4], np.int32), *SEQUENCES[1:]]
    assert preferences.not_in(later).preferred.tolist() == [5]


def test_ranked_pairs_move_a_user_towards_what_is_preferred() -> None:
    """A newcomer to a group of items, of whom nothing but ranked pairs says so."""
    from offline.direct.config import MfConfig
    from offline.direct.recommender import DirectRecommender

    rows = [np.arange(1, 5, dtype=np.int32)] * 8 + [np.arange(5, 9, dtype=np.int32)] * 8
    data = TrainingData([*rows, np.array([9], np.int32)], 9)
    pairs = [(16, likes, other) for likes in range(5, 9) for other in range(1, 5)]
    preferences = Preferences(*np.array(pairs * 4, np.int32).T)
    config = MfConfig(embedding_size=8, epochs=30, batch_size=64, learning_rate=0.05)

    def lead(data: TrainingData) -> float:
        """How much nearer to the preferred items than to the others item 9, the user's, is."""
        table = DirectRecommender(config).fit(data).item_table
        near = table[1:9] @ table[9]
        return float(near[4:].mean() - near[:4].mean())

    assert lead(replace(data, preferences=preferences)) > lead(data) + 0.1
