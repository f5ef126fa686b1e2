"""log p(y|x, s) reads and scores the items concerned by their new texts, and θ_r climbs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.examples import Example, Examples, newest_items
from offline.alignment.experience import Experience, SampledText
from offline.alignment.judge import Judge
from offline.alignment.likelihood import TextLikelihood, Whitening
from offline.alignment.recommender_update import RecommenderUpdate
from offline.alignment.recommenders import TunableRecommender
from offline.recommender.config import (
    LightsansConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.recommender import TrainingData
from offline.recommender.text_projection import whiten

N_ITEMS, SIZE, K = 9, 8, 20
HISTORIES = [np.array([1, 2, 3], np.int32), np.array([4, 3, 4], np.int32)]
TARGETS = np.array([5, 6])


def vectors() -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((N_ITEMS + 1, K)).astype(np.float32)
    rows[0] = 0
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def fitted(config: RecommenderConfig) -> TextLikelihood:
    walks = [(np.arange(user, user + 6) % (N_ITEMS - 1) + 1).astype(np.int32) for user in range(8)]
    data = TrainingData(walks, N_ITEMS, None, vectors())
    training = TrainingConfig(epochs=2, batch_size=4, learning_rate=0.05)
    recommender = TunableRecommender(config, training).fit(data)
    whitening = Whitening.of(vectors(), config.member_size)
    return TextLikelihood(recommender.network.eval(), whitening, data.counts() > 0)


CONFIGS = {
    "sasrec": SasrecConfig(embedding_size=SIZE, max_length=4),
    "two members": SasrecConfig(embedding_size=SIZE, max_length=4, members=2, heads=1),
    "lightsans": LightsansConfig(embedding_size=SIZE, max_length=4, interests=2),
}


def test_whitening_of_known_vectors_gives_their_features() -> None:
    found = Whitening.of(vectors(), SIZE)(torch.from_numpy(vectors()))[1:]
    np.testing.assert_allclose(found.numpy(), whiten(vectors(), SIZE)[1:], atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_replaced_text_is_as_if_the_item_had_always_had_it(name: str) -> None:
    likelihood = fitted(CONFIGS[name])
    new = torch.nn.functional.normalize(torch.randn(2, 2, K), dim=-1)
    items = np.array([[3, 2], [4, 0]])
    with torch.no_grad():
        found = likelihood.log_p(HISTORIES, TARGETS, items, new)
        before = likelihood.log_p(HISTORIES, TARGETS, np.zeros((2, 1), np.int64), new[:, :1])
        for row in range(2):
            known = likelihood.knowledge_tensors()
            kept = {key: tensor.clone() for key, tensor in known.items()}
            real = [item for item in items[row] if item]
            likelihood.set_vectors(real, new[row, : len(real)])
            history, target = [HISTORIES[row]], TARGETS[row : row + 1]
            alone = likelihood.log_p(history, target, np.zeros((1, 1), np.int64), new[:1, :1])
            assert found[row].item() == pytest.approx(alone.item(), abs=1e-5)
            assert abs(found[row].item() - before[row].item()) > 1e-4
            likelihood.restore_knowledge(kept)


def test_items_nobody_chose_take_no_part() -> None:
    likelihood = fitted(CONFIGS["sasrec"])
    none = np.zeros((1, 1), np.int64)
    history = [HISTORIES[0]]
    with torch.no_grad():
        p = [
            likelihood.log_p(history, np.array([item]), none, torch.zeros(1, 1, K)).exp().item()
            for item in range(N_ITEMS + 1)
        ]
    assert sum(p) == pytest.approx(1.0, abs=1e-5)
    assert (p[0], p[N_ITEMS]) == (0.0, 0.0)


class FixedVectors:
    """Texts that name a row; stands in for an encoder that is frozen."""

    frozen = True

    def of(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(vectors())[[int(text) for text in texts]]


def test_the_recommender_climbs_log_p() -> None:
    """Equation 9."""
    likelihood = fitted(CONFIGS["sasrec"])
    judge = Judge(likelihood, None, FixedVectors())  # type: ignore[arg-type]
    config = AlignmentConfig(recommender_learning_rate=0.01)
    update = RecommenderUpdate(judge, config)
    empty = np.zeros(0, np.float32)
    texts = [SampledText(3, "7", empty, empty, empty), SampledText(4, "8", empty, empty, empty)]
    experiences = [
        Experience(history, int(target), (text,), 0.0, 0.0, 0, 0)
        for history, target, text in zip(HISTORIES, TARGETS, texts, strict=True)
    ]
    examples = [Example(each.history, each.target) for each in experiences]

    def mean_log_p() -> float:
        with torch.no_grad():
            return judge.log_with(examples, [each.texts for each in experiences]).mean().item()

    before = mean_log_p()
    for _ in range(10):
        update.step(experiences)
    assert mean_log_p() > before + 0.1
    unmoved = RecommenderUpdate(judge, AlignmentConfig(recommender_learning_rate=0.0))
    here = mean_log_p()
    assert unmoved.step(experiences) == {}
    assert mean_log_p() == here


def test_examples_are_all_positions_of_training_sequences() -> None:
    examples = Examples([np.array([1, 2, 3, 4]), np.array([5]), np.array([2, 4])], 2)
    found = [(examples[i].history.tolist(), examples[i].target) for i in range(len(examples))]
    assert found == [([1], 2), ([1, 2], 3), ([2, 3], 4), ([2], 4)]
    assert examples.count_by_item(5).tolist() == [0, 1, 2, 1, 0, 0]
    rng = np.random.default_rng(0)
    ending = examples.ending_with(2, 5, rng)
    assert sorted(each.history.tolist() for each in ending) == [[1, 2], [2]]
    assert len(examples.ending_with(2, 1, rng)) == 1
    assert examples.ending_with(5, 3, rng) == []


def test_the_newest_items_are_different_ones() -> None:
    assert newest_items(np.array([1, 7, 3, 7], np.int32), 2) == [7, 3]
