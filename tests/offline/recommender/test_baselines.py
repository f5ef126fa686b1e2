from __future__ import annotations

import numpy as np
import pytest

from offline.recommender.baselines import Markov, Popularity
from offline.recommender.recommender import Baseline, TrainingData, rank_unseen
from tests.offline.recommender.laws import BaselineLaws
from tests.offline.recommender.planted import fresh_histories, successor


class TestPopularity(BaselineLaws):
    def make(self) -> Popularity:
        return Popularity()

    def test_ranks_by_training_interactions(self) -> None:
        sequences = [np.array(items, np.int32) for items in ([3, 2, 3], [3, 1, 2], [])]
        model = Popularity().fit(TrainingData(sequences, n_items=4))
        best, scores = rank_unseen(model.score, [np.array([4], np.int32)], k=3)
        assert best.tolist() == [[3, 2, 1]]
        assert scores.tolist() == [[3.0, 2.0, 1.0]]


class TestMarkov(BaselineLaws):
    def make(self) -> Markov:
        return Markov()

    def test_finds_the_planted_successor(self, model: Baseline) -> None:
        histories = fresh_histories()
        best, _ = rank_unseen(model.score, histories, k=1)
        assert best[:, 0].tolist() == [successor(int(history[-1])) for history in histories]

    def test_popularity_breaks_ties_and_never_outweighs_a_transition(self) -> None:
        sequences = [np.array(items, np.int32) for items in ([1, 2], [4, 4, 4, 3], [5, 3])]
        model = Markov().fit(TrainingData(sequences, n_items=6))
        best, _ = rank_unseen(model.score, [np.array([1], np.int32)], k=5)
        assert best.tolist() == [[2, 4, 3, 5, 6]]

    def test_counts_transitions(self) -> None:
        sequences = [np.array([1, 2, 1, 2, 1, 3], np.int32)]
        model = Markov().fit(TrainingData(sequences, n_items=3))
        scores = model.score([np.array([1], np.int32)])[0]
        assert scores[[1, 2, 3]] == pytest.approx([3 / 4, 2 + 2 / 4, 1 + 1 / 4])


def test_no_interactions_at_all_score_zero() -> None:
    empty = TrainingData([], n_items=3)
    for model in (Popularity().fit(empty), Markov().fit(empty)):
        assert model.score([np.array([1], np.int32)]).tolist() == [[0.0] * 4]
