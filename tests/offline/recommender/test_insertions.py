"""Inserted items are read in training, and nothing else takes notice of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from offline.data.histories import Items, Weights, cut_windows
from offline.data.insertions import Insertions
from offline.recommender.backbones import new_backbone
from offline.recommender.baselines import Markov, Popularity
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.contrast import Contrast
from offline.recommender.criterion import Criterion, Indices
from offline.recommender.ensemble import EachMember, Ensemble, EnsembleItems
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import HiddenItem, NextItem, Objective
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import N_ITEMS, planted_cycle

SMALL = {"embedding_size": 8, "max_length": 6, "dropout": 0.0}
CONFIGS: list[RecommenderConfig] = [
    config(**SMALL)
    for config in (
        SasrecConfig,
        Bert4recConfig,
        Gru4recConfig,
        CaserConfig,
        HstuConfig,
        LightsansConfig,
        PaupConfig,
    )
]
LOSSES = {
    "softmax": {},
    "sampled": {"sampled_negatives": 4},
    "gbce": {"loss": "gbce", "sampled_negatives": 4},
    "bce": {"loss": "bce"},
}
# Item 9 is in the catalogue and nobody chose it.
SEQUENCES: list[Items] = [np.array(row, np.int32) for row in ([1, 2, 3, 4], [5, 6], [7])]
INSERTIONS = Insertions(
    np.array([0, 0, 1, 2], np.int32), np.array([0, 2, 1, 0], np.int32), np.full(4, 9, np.int32)
)
AUGMENTED = TrainingData(SEQUENCES, 10, insertions=INSERTIONS)


class RecordingCriterion(Criterion):
    """Keeps all targets that it is given."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(AUGMENTED.counts(), config)
        self.targets: list[int] = []

    def loss(
        self,
        users: Tensor,
        table: Tensor,
        targets: Indices,
        rng: np.random.Generator,
        weights: Weights | None = None,
    ) -> Tensor:
        self.targets += targets.tolist()
        return super().loss(users, table, targets, rng, weights)


def objective_of(config: RecommenderConfig, criterion: Criterion) -> Objective:
    if isinstance(config, Bert4recConfig):
        return HiddenItem(criterion, config)
    return NextItem(criterion)


def network_of(config: RecommenderConfig) -> SequenceNetwork:
    torch.manual_seed(0)
    return SequenceNetwork(ItemEncoder(10, config.embedding_size, None, None), new_backbone(config))


def windows_of(length: int = 6) -> list[Items]:
    return cut_windows(AUGMENTED.read_sequences(), length)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.backbone)
def test_an_inserted_item_is_read_and_is_no_target(config: RecommenderConfig, loss: str) -> None:
    criterion = RecordingCriterion(TrainingConfig.model_validate(LOSSES[loss]))
    objective, network = objective_of(config, criterion), network_of(config)
    rng = np.random.default_rng(0)
    total = torch.stack([objective.loss(network, windows_of(), rng) for _ in range(8)]).sum()
    assert torch.isfinite(total)
    assert criterion.targets
    if isinstance(config, Bert4recConfig):
        assert set(criterion.targets) <= {1, 2, 3, 4, 5, 6, 7}
    else:  # all that follow an item, be it an inserted one
        assert sorted(criterion.targets) == sorted([1, 2, 3, 4, 6, 7] * 8)
    total.backward()  # type: ignore[no-untyped-call]
    assert isinstance(network.items, ItemEncoder)
    gradient = network.items.ids.grad
    assert gradient is not None
    assert gradient[9].abs().sum() > 0  # it is read
    assert gradient[8].abs().sum() == 0  # an item that nobody has is not


@pytest.mark.parametrize("kind", ["contrast", "ensemble"])
def test_further_objectives_have_no_inserted_target(kind: str) -> None:
    config, criterion = SasrecConfig(**SMALL), RecordingCriterion(TrainingConfig())
    if kind == "contrast":
        objective: Objective = Contrast(NextItem(criterion), 0.1, 0.2)
        network = network_of(config)
    else:
        objective = EachMember(NextItem(criterion))
        torch.manual_seed(0)
        network = SequenceNetwork(
            EnsembleItems([ItemEncoder(10, 8, None, None) for _ in range(2)]),
            Ensemble([new_backbone(config) for _ in range(2)]),
        )
    loss = objective.loss(network, windows_of(), np.random.default_rng(0))
    assert torch.isfinite(loss)
    assert set(criterion.targets) == {1, 2, 3, 4, 6, 7}


def test_windows_without_a_target_are_left_out() -> None:
    lone = np.array([3, -9], np.int32)
    assert cut_windows([lone], 6) == []
    cut = cut_windows([np.array([1, -9, 2, 3], np.int32)], 2)
    assert [window.tolist() for window in cut] == [[-9, 2, 3]]
    assert [window.tolist() for window in windows_of(2)] == [
        [-9, 3, 4], [1, 2, -9], [-9, 1], [5, -9, 6], [-9, 7],
    ]  # fmt: skip


def test_sequences_are_read_with_insertions_and_counted_without() -> None:
    read = [sequence.tolist() for sequence in AUGMENTED.read_sequences()]
    assert read == [[-9, 1, 2, -9, 3, 4], [5, -9, 6], [-9, 7]]
    assert [sequence.tolist() for sequence in AUGMENTED.sequences] == [[1, 2, 3, 4], [5, 6], [7]]
    assert AUGMENTED.counts()[9] == 0
    assert AUGMENTED.counts().sum() == 7


def test_baselines_take_no_notice() -> None:
    plain = replace(AUGMENTED, insertions=None)
    for baseline in (Popularity, Markov):
        np.testing.assert_array_equal(
            baseline().fit(AUGMENTED).score(SEQUENCES), baseline().fit(plain).score(SEQUENCES)
        )


def test_a_share_of_the_users_keeps_its_own_insertions() -> None:
    sequences = [np.array([user, user + 1], np.int32) for user in range(1, 41)]
    everyone = np.arange(40, dtype=np.int32)
    insertions = Insertions(everyone, np.ones(40, np.int32), everyone + 50)
    drawn = TrainingData(sequences, 100, insertions=insertions).of_share(0.3, seed=1)
    read = drawn.read_sequences()
    assert len(read) == 12
    for row in read:
        assert row.tolist() == [row[0], -(row[0] - 1 + 50), row[0] + 1]


def test_insertions_that_came_true_are_left_out() -> None:
    grown = [np.array([1, 2, 3, 4, 9], np.int32), SEQUENCES[1], SEQUENCES[2]]
    assert INSERTIONS.not_in(grown).users.tolist() == [1, 2]


def test_insertions_are_saved_and_loaded(tmp_path: Path) -> None:
    INSERTIONS.save(tmp_path)
    loaded = Insertions.load(tmp_path)
    assert [row.tolist() for row in loaded.into(SEQUENCES)] == [
        row.tolist() for row in INSERTIONS.into(SEQUENCES)
    ]


def test_insertions_change_the_network_and_not_the_rows_of_items_nobody_chose() -> None:
    data = planted_cycle()
    cold = N_ITEMS + 1
    users = np.arange(len(data.sequences), dtype=np.int32)
    insertions = Insertions(
        users, np.ones(len(users), np.int32), np.full(len(users), cold, np.int32)
    )
    plain = TrainingData(data.sequences, cold, data.validation)
    trained = []
    for given in (plain, replace(plain, insertions=insertions)):
        model = SequenceRecommender(SasrecConfig(**SMALL), TrainingConfig(epochs=1))
        trained.append(model.fit(given))
    first, second = trained
    assert not np.allclose(first.item_table[1:cold], second.item_table[1:cold])
    # Without knowledge an untrained item has the mean row, whatever was inserted.
    np.testing.assert_allclose(
        second.item_table[cold], second.item_table[1:cold].mean(axis=0), atol=1e-5
    )
