"""Rec is trained with texts that are drawn for each batch (Algorithm 1, lines 3 and 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from offline.alignment.drawn_texts import DrawnTexts
from offline.alignment.experience import SampledText
from offline.alignment.models import Models, open_models
from offline.alignment.recommenders import DrawnTextsTraining, fit_with_knowledge
from offline.training.batches import Rows
from tests.offline.alignment.world import make_inputs, make_models

ITEMS = (2, 5)
POOL = {"mode": "pool", "pool_items": 5, "texts_per_example": 3, "freeze_encoder": True}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def models(tiny: Path) -> Models:
    return open_models(make_inputs(tiny, **POOL), tiny / "work", tiny)


class Listed:
    """Three texts of two items."""

    def __init__(self) -> None:
        none, tokens = np.zeros(1, np.float32), np.zeros(1, np.int32)
        words = ("toy war fun", "quiet people", "comedy drama")
        self._texts = {
            item: [SampledText(item, f"{text} {item}", tokens, none, none) for text in words]
            for item in ITEMS
        }

    @property
    def items(self) -> np.ndarray:
        return np.array(ITEMS, dtype=np.int32)

    def texts(self, item: int) -> list[SampledText]:
        return self._texts[item]


def test_each_batch_reads_one_text_an_item_and_validation_those_before(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, validate = DrawnTextsTraining.loss, DrawnTextsTraining.validate
    read: list[Tensor] = []
    validated: list[Tensor] = []

    def noted_loss(self: DrawnTextsTraining, batch: Rows, rng: np.random.Generator) -> Tensor:
        found = loss(self, batch, rng)
        read.append(self.module.items.knowledge.clone())  # type: ignore[union-attr,operator]
        return found

    def noted_validate(self: DrawnTextsTraining) -> float | None:
        found = validate(self)
        validated.append(self.module.items.knowledge.clone())  # type: ignore[union-attr,operator]
        return found

    monkeypatch.setattr(DrawnTextsTraining, "loss", noted_loss)
    monkeypatch.setattr(DrawnTextsTraining, "validate", noted_validate)
    data, whitening = models.data, models.judge.with_text.whitening
    assert data.knowledge is not None
    drawn = DrawnTexts.of(Listed(), models.judge.vectors, data.knowledge, whitening)
    settings = models.inputs.settings
    training = settings.training.model_copy(update={"epochs": 5})
    fit_with_knowledge(settings.recommender, training, data, tmp_path, drawn)
    assert len(read) >= 10
    before = validated[0]
    assert all(torch.equal(rows, before) for rows in validated)
    torch.testing.assert_close(before, whiten_all(models), atol=1e-4, rtol=1e-4)
    used = set()
    for place, item in enumerate(ITEMS):
        for rows in read:
            distances = (drawn.features[place] - rows[item]).abs().amax(dim=1)
            assert distances.min() == 0.0
            used.add((item, int(distances.argmin())))
    assert len(used) == 6  # each text of each item, in so many batches
    others = [number for number in range(len(before)) if number not in ITEMS]
    assert all(torch.equal(rows[others], before[others]) for rows in read)


def whiten_all(models: Models) -> Tensor:
    """Features of all items before alignment; padding has none."""
    assert models.data.knowledge is not None
    features = models.judge.with_text.whitening(torch.from_numpy(models.data.knowledge))
    features[0] = 0.0
    return features


def test_a_training_with_other_texts_is_another_training(models: Models, tiny: Path) -> None:
    settings, pool = models.inputs.settings, models.pool
    assert pool is not None
    assert models.data.knowledge is not None
    whitening = models.judge.with_text.whitening
    drawn = DrawnTexts.of(pool, models.judge.vectors, models.data.knowledge, whitening)
    fit = settings.recommender, settings.training, models.data
    with_pool = fit_with_knowledge(*fit, tiny / "same", drawn).item_table
    with_one = fit_with_knowledge(*fit, tiny / "same").item_table
    again = fit_with_knowledge(*fit, tiny / "same", drawn).item_table
    assert np.array_equal(with_pool, again)
    assert not np.array_equal(with_pool, with_one)


def test_it_is_left_out_where_the_settings_say_so(tiny: Path, models: Models) -> None:
    inputs = make_inputs(tiny, train_on_pool=False, **POOL)
    alone = open_models(inputs, tiny / "alone", tiny)
    assert not np.array_equal(alone.recommender.item_table, models.recommender.item_table)
