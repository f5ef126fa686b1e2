from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from model_store.rerank_prompt import LABELS
from offline.augmentation.config import AugmentationConfig
from offline.augmentation.draws import Draws, draw_candidates, sparse_users
from offline.augmentation.sequences import picked_insertions
from offline.instruction.label_scorer import Float32
from offline.recommender.recommender import TrainingData

N_ITEMS = 30
TITLES = [f"film {item}" for item in range(1, N_ITEMS + 1)]


@dataclass
class TitleScorer:
    """Likes the film with the highest number; remembers its prompts."""

    asked: list[str] = field(default_factory=list)

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        self.asked += prompts
        return [
            np.array([number_of(prompt, label) for label in LABELS[:n]], np.float32)
            for prompt, n in zip(prompts, n_labels, strict=True)
        ]

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        raise NotImplementedError


def number_of(prompt: str, label: str) -> int:
    line = next(line for line in prompt.splitlines() if line.startswith(f"{label}. "))
    return int(line.rpartition(" ")[2])


def training(n_users: int = 20) -> TrainingData:
    """User u has u items; item 30 has no interaction."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(N_ITEMS - 1)[:user].astype(np.int32) + 1 for user in range(n_users)]
    return TrainingData(rows, N_ITEMS)


def drawn(config: AugmentationConfig, data: TrainingData | None = None) -> Draws:
    return Draws.of_training(data or training(), TITLES, config)


def test_sparse_users_are_a_share_with_the_fewest_interactions_and_some() -> None:
    sequences = training().sequences
    assert sparse_users(sequences, AugmentationConfig(share=0.2)) == [1, 2, 3, 4]
    assert sparse_users(sequences, AugmentationConfig(share=1.0, max_interactions=6)) == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip
    assert sparse_users(sequences, AugmentationConfig()) == []


def test_candidates_are_trained_items_that_the_user_does_not_have() -> None:
    data = training()
    config = AugmentationConfig(share=1.0, n_candidates=5, per_user=2)
    draws = drawn(config, data).draws
    assert len(draws) > 20
    for draw in draws:
        question = draw.question
        own = set(data.sequences[question.user].tolist())
        assert len(set(question.candidates)) == len(question.candidates) >= 2
        assert not own & set(question.candidates)
        assert N_ITEMS not in question.candidates
        assert 0 <= draw.position < len(own)
    of_one = [set(draw.question.candidates) for draw in draws if draw.question.user == 3]
    assert len(of_one) == 2
    assert not of_one[0] & of_one[1]


def test_a_user_who_has_everything_gets_nothing() -> None:
    everything = np.arange(1, 6, dtype=np.int32)
    data = TrainingData([everything, everything[:4]], 5)
    assert drawn(AugmentationConfig(share=1.0), data).draws == []


def test_the_same_seed_draws_the_same_and_another_one_does_not() -> None:
    config = AugmentationConfig(share=0.5)
    assert drawn(config).draws == drawn(config).draws
    assert drawn(config.model_copy(update={"seed": 1})).draws != drawn(config).draws


def test_prompts_show_the_newest_training_items_and_neither_prediction_nor_similar_user() -> None:
    data = training()
    asked = drawn(AugmentationConfig(share=1.0, n_history=3), data)
    for draw, prompt in zip(asked.draws, asked.prompts, strict=True):
        newest = data.sequences[draw.question.user][-3:]
        assert f"History: {'; '.join(TITLES[item - 1] for item in newest)}\nCandidates:" in prompt
        assert "Prediction" not in prompt
    assert asked.n_labels == [len(draw.question.candidates) for draw in asked.draws]


def test_every_place_and_candidate_comes_up() -> None:
    sequence = np.array([1, 2, 3], np.int32)
    others = np.arange(4, 20, dtype=np.int32)
    data = TrainingData([sequence] * 300 + [others], 20)
    draws = draw_candidates(data.sequences, data.counts(), AugmentationConfig(share=0.9))
    positions = np.bincount([draw.position for draw in draws], minlength=3)
    assert (positions > 60).all()
    assert {item for draw in draws for item in draw.question.candidates} == set(range(4, 20))


def test_the_likeliest_candidate_is_inserted_at_the_drawn_place() -> None:
    data = training()
    asked = drawn(AugmentationConfig(share=0.3, n_candidates=4), data)
    scores = TitleScorer().scores(asked.prompts, asked.n_labels)
    insertions = picked_insertions(asked.draws, scores)
    likeliest = [max(draw.question.candidates) for draw in asked.draws]
    assert insertions.items.tolist() == likeliest
    read = insertions.into(data.sequences)
    for draw, item in zip(asked.draws, likeliest, strict=True):
        user = draw.question.user
        assert read[user][draw.position] == -item
        np.testing.assert_array_equal(read[user][read[user] > 0], data.sequences[user])


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_rejected(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        AugmentationConfig(share=share)
