"""Training with a backbone that computes in bfloat16; here on a CPU, which autocasts as well."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from model_store.id_map import IdMap
from offline.export.bundle_files import export_model
from offline.metrics import Ranking, rank_cases
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    Precision,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.criterion import Criterion
from offline.recommender.sequential import SequenceRecommender
from offline.training.checkpoint import load_checkpoint
from tests.offline.recommender.planted import N_ITEMS, fresh_histories, planted_cycle

SHAPE: dict[str, Any] = {"embedding_size": 16, "max_length": 8, "dropout": 0.1}
SASREC, BERT4REC = SasrecConfig(**SHAPE, layers=1), Bert4recConfig(**SHAPE, layers=1)
USUAL = {"epochs": 4, "batch_size": 16, "learning_rate": 5e-3, "warm_up_steps": 5}


def new_model(
    config: RecommenderConfig, precision: Precision = "bfloat16", **choices: Any
) -> SequenceRecommender:
    return SequenceRecommender(config, TrainingConfig(**USUAL | choices, precision=precision))


@pytest.mark.parametrize(
    ("config", "choices"),
    [
        (SASREC, {}),
        (SASREC, {"sampled_negatives": 12}),
        (SASREC, {"loss": "gbce", "sampled_negatives": 12}),
        (SASREC, {"contrast_weight": 0.1}),
        (BERT4REC, {}),
        (BERT4REC, {"sampled_negatives": 12}),
        (Gru4recConfig(**SHAPE, hidden_size=24), {}),
        (CaserConfig(**SHAPE, window=4, horizontal_filters=4), {}),
        (HstuConfig(**SHAPE, layers=1), {}),
        (LightsansConfig(**SHAPE, layers=1), {}),
        (PaupConfig(**SHAPE, layers=1), {}),
    ],
    ids=lambda part: getattr(part, "backbone", None) or "-".join(map(str, part.values())),
)
def test_it_learns_nearly_the_same_with_float32_around_it(
    config: RecommenderConfig, choices: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()
    loss_of = Criterion.loss

    def noted(self: Criterion, users, table, *rest: Any) -> torch.Tensor:
        loss = loss_of(self, users, table, *rest)
        seen.update(tensor.dtype for tensor in (users, table, loss))
        return loss

    monkeypatch.setattr(Criterion, "loss", noted)
    exact = new_model(config, "float32", **choices).fit(planted_cycle())
    model = new_model(config, **choices).fit(planted_cycle())
    assert seen == {torch.float32}
    losses, wanted = ([epoch.loss for epoch in m.record.epochs] for m in (model, exact))
    assert losses == pytest.approx(wanted, rel=0.02)
    assert losses != wanted  # or it had not been bfloat16
    assert model.item_table.dtype == np.float32
    assert {weight.dtype for weight in model.backbone.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("config", [SASREC, BERT4REC], ids=lambda config: config.backbone)
def test_an_interrupted_training_gives_the_same_model(
    config: RecommenderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = new_model(config).fit(planted_cycle())
    with monkeypatch.context() as patched:
        patched.setattr("offline.recommender.sequential.rank_cases", _stop_in_epoch(3))
        with pytest.raises(_StoppedError):
            new_model(config).fit(planted_cycle(), tmp_path)
    _, state = load_checkpoint(tmp_path / "training.safetensors")
    model = new_model(config).fit(planted_cycle(), tmp_path)
    np.testing.assert_array_equal(model.item_table, wanted.item_table)
    histories = fresh_histories()
    np.testing.assert_array_equal(model.score(histories), wanted.score(histories))
    assert [e.loss for e in model.record.epochs] == [e.loss for e in wanted.record.epochs]
    assert model.record.to_dict()["epochs"][:2] == state["record"]["epochs"]
    again = new_model(config, "float32").fit(planted_cycle(), tmp_path)
    assert again.record.epochs[0].loss != model.record.epochs[0].loss


@pytest.mark.slow
def test_the_exported_graph_is_float32_and_agrees_with_torch(tmp_path: Path) -> None:
    model = new_model(SASREC, epochs=1).fit(planted_cycle())
    ids = IdMap([f"film {index}" for index in range(1, N_ITEMS + 1)])
    report = export_model(model, ids, fresh_histories(), tmp_path, n_golden=3)
    assert report.parity.max_difference <= 1e-4
    assert np.load(tmp_path / "item_table.npy").dtype == np.float32
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = {onnx.TensorProto.DataType.Name(weight.data_type) for weight in graph.initializer}
    assert "FLOAT" in kinds
    assert not kinds & {"BFLOAT16", "FLOAT16"}


class _StoppedError(Exception):
    pass


def _stop_in_epoch(number: int) -> Callable[..., Ranking]:
    """A ranking of the validation cases that breaks off."""
    epochs = count(1)

    def rank(*given: Any, **named: Any) -> Ranking:
        if next(epochs) == number:
            raise _StoppedError
        return rank_cases(*given, **named)

    return rank
