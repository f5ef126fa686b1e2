"""FT1 and FT2 on a world in which behaviour and texts differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model_store.errors import ConfigError, InputError
from offline.behaviour.config import BehaviourConfig
from offline.behaviour.finetuning import NextItem
from offline.behaviour.history_encoder import HistoryEncoder
from offline.behaviour.stages import describe, start_of, tune_on_behaviour
from offline.behaviour.tuning import plan_tuning
from offline.data.split import Cases, Split
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.training.record import Epoch, TrainingRecord
from offline.training.trainer import Trainer
from tests.offline.behaviour.world import ITEM_TEXTS, N_ITEMS, make_encoder, make_split

QUICK: dict[str, Any] = {
    "stages": ("ft1",),
    "layers": "all",
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 2e-3,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def tune(start: Path, folder: Path, split: Split | None = None, **choices: Any) -> TrainingRecord:
    config = BehaviourConfig(**QUICK | choices)
    records = tune_on_behaviour(ITEM_TEXTS, split or make_split(), config, str(start), folder)
    return records["ft1"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("history_items", [1, 3])
def test_the_tuned_encoder_ranks_better(start: Path, tmp_path: Path, history_items: int) -> None:
    record = tune(start, tmp_path, history_items=history_items, epochs=4, samples_per_user=4)
    losses = [epoch.loss for epoch in record.epochs[1:]]
    assert losses == sorted(losses, reverse=True)
    assert record.best_figure > 1.3 * record.epochs[0].figure
    tuned = SentenceEncoder(str(tmp_path / "ft1"), tmp_path, "cpu")
    vanilla = SentenceEncoder(str(start), tmp_path, "cpu")
    # Two words for one theme, which only behaviour shows.
    texts = ["theme0a", "theme0b", "theme1a"]
    alike, unlike = _cosines(tuned.encode(texts))
    alike_before, unlike_before = _cosines(vanilla.encode(texts))
    assert alike - unlike > alike_before - unlike_before + 0.2


def _cosines(vectors: np.ndarray) -> tuple[float, float]:
    return float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])


def test_the_figure_is_of_the_items_as_they_will_be_encoded(start: Path, tmp_path: Path) -> None:
    record = tune(start, tmp_path)
    encoder = SentenceEncoder(str(tmp_path / "ft1"), tmp_path, "cpu")
    items = np.vstack([np.zeros((1, 32), np.float32), encoder.encode(ITEM_TEXTS)])
    cases = make_split().validation
    gains = []
    for case in range(len(cases)):
        history, target = cases.history(case), cases.targets[case]
        scores = items @ items[history[-1]]
        others = np.setdiff1d(np.arange(1, N_ITEMS + 1), [*history, target])
        rank = 1 + int((scores[others] >= scores[target]).sum())
        gains.append(1 / np.log2(1 + rank) if rank <= 10 else 0.0)
    assert record.best_figure == pytest.approx(np.mean(gains), abs=1e-3)


@pytest.mark.parametrize("layers", ["strata", (2,)])
def test_layers_that_are_not_chosen_stay_bit_for_bit(
    start: Path, tmp_path: Path, layers: Any
) -> None:
    tune(start, tmp_path, layers=layers, epochs=2)
    before, after = weights(start), weights(tmp_path / "ft1")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    chosen = ["layer.2."] if layers == (2,) else ["layer.0.", "layer.1.", "layer.2."]
    assert changed
    assert all(any(layer in name for layer in chosen) for name in changed)
    assert {layer for layer in chosen if any(layer in name for name in changed)} == set(chosen)


def test_held_out_interactions_change_nothing(start: Path, tmp_path: Path) -> None:
    """Other validation and test targets, and yet the same losses: only the choice can differ."""
    split = make_split()
    others = replace(
        split,
        validation=replace(split.validation, targets=split.validation.targets[::-1].copy()),
        test=replace(split.test, targets=split.test.targets[::-1].copy()),
    )
    records = [tune(start, tmp_path / str(n), s) for n, s in enumerate([split, others])]
    losses = [[epoch.loss for epoch in record.epochs] for record in records]
    assert losses[0] == losses[1]


class _StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    "choices",
    [{}, {"layers": (1, 2)}, pytest.param({"history_items": 2}, marks=pytest.mark.slow)],
)
def test_a_resumed_tuning_equals_one_in_one_go(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]
) -> None:
    choices = {"stages": ("ft1", "ft2"), "epochs": 2, **choices}
    whole = tune(start, tmp_path / "whole", **choices)
    real, calls = NextItem.validate, []

    def stop(self: NextItem) -> float:
        calls.append(1)
        if len(calls) % 3 == 0:
            raise _StoppedError
        return real(self)

    monkeypatch.setattr(NextItem, "validate", stop)
    stops = 0
    while True:
        try:
            resumed = tune(start, tmp_path / "resumed", **choices)
            break
        except _StoppedError:
            stops += 1
    assert stops >= 2
    assert [(e.loss, e.figure) for e in resumed.epochs] == [
        (e.loss, e.figure) for e in whole.epochs
    ]
    for stage in ("ft1", "ft2"):
        one, other = weights(tmp_path / "whole" / stage), weights(tmp_path / "resumed" / stage)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted(path.name for path in (tmp_path / "resumed").iterdir()) == ["ft1", "ft2"]


def test_ft2_keeps_the_items_where_ft1_left_them(start: Path, tmp_path: Path) -> None:
    config = BehaviourConfig(**QUICK | {"stages": ("ft1", "ft2"), "items_by": "ft2"})
    records = tune_on_behaviour(ITEM_TEXTS, make_split(), config, str(start), tmp_path)
    facts = describe(records)
    # A history of one item is that item's text, so before FT2 both sides are FT1's.
    assert facts["ft2_ndcg_at_10_before"] == pytest.approx(facts["ft1_ndcg_at_10"], abs=1e-3)
    assert records["ft2"].epochs[1].loss < records["ft1"].epochs[1].loss
    one, other = weights(tmp_path / "ft1"), weights(tmp_path / "ft2")
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_first_epoch_of_ft2_draws_on_frozen_items(start: Path) -> None:
    config = BehaviourConfig(**QUICK)
    encoder = SentenceEncoder(str(start), start, "cpu")
    histories = HistoryEncoder(encoder, ITEM_TEXTS, config)
    fixed = torch.nn.functional.normalize(torch.randn(N_ITEMS + 1, 32), dim=1)
    task = NextItem(histories, make_split(), config, fixed.clone())
    task.validate()
    assert torch.equal(task.item_vectors, fixed)


def test_items_of_the_history_and_never_chosen_ones_are_no_negatives(start: Path) -> None:
    config = BehaviourConfig(**QUICK)
    histories = HistoryEncoder(SentenceEncoder(str(start), start, "cpu"), ITEM_TEXTS, config)
    split = make_split()
    split.train_items[split.train_items == N_ITEMS] = 6  # of the same theme
    task = NextItem(histories, split, config)
    rng = np.random.default_rng(0)
    batch = task.batches(rng)[0][:1]
    assert task._samples is not None
    assert task.item_vectors is not None
    own = int(task._samples.histories[batch[0], 0])
    before = task.loss(batch, rng)
    for item, counts in ((own, False), (N_ITEMS, False), (own % N_ITEMS + 1, True)):
        task.item_vectors[item] *= -3.0
        assert bool(task.loss(batch, rng) != before) == counts


def test_the_best_epoch_is_kept_and_patience_ends_it() -> None:
    record = TrainingRecord()
    epochs = [Epoch(n, 1.0, x, 0.0, 0.0, "tuning") for n, x in enumerate([0.1, 0.3, 0.2, 0.3])]
    kept = [record.add(epoch) for epoch in epochs]
    assert kept == [True, True, False, False]
    assert (record.best_epoch, record.best_figure) == (1, 0.3)
    assert not record.finished(9, 3)
    assert record.finished(9, 2)
    assert record.finished(3, 9)
    assert TrainingRecord.from_dict(record.to_dict()) == record


def test_an_encoder_that_only_gets_worse_stays_as_it_was(start: Path, tmp_path: Path) -> None:
    record = tune(start, tmp_path, learning_rate=1.0, epochs=2)
    assert record.best_epoch == 0
    one, other = weights(start), weights(tmp_path / "ft1")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_cases_all_epochs_are_run_and_the_last_is_kept(start: Path, tmp_path: Path) -> None:
    split = make_split()
    nobody = np.zeros(0, np.int32)
    none = Cases(nobody, np.zeros(1, np.int64), nobody, nobody)
    config = BehaviourConfig(**QUICK)
    records = tune_on_behaviour(
        ITEM_TEXTS, replace(split, validation=none), config, str(start), tmp_path
    )
    assert records["ft1"].best_epoch == 3
    assert describe(records) == {"ft1_epoch": 3}


def test_a_loss_that_diverges_is_one_line(start: Path, tmp_path: Path) -> None:
    class Diverging(NextItem):
        def loss(self, batch: Any, rng: np.random.Generator) -> torch.Tensor:
            return super().loss(batch, rng) * float("inf")

    config = BehaviourConfig(**QUICK)
    histories = HistoryEncoder(SentenceEncoder(str(start), start, "cpu"), ITEM_TEXTS, config)
    task = Diverging(histories, make_split(), config)
    trainer = Trainer("tuning", task, plan_tuning(config, patience=1))
    with pytest.raises(InputError, match=r"^tuning: the loss became .* in epoch 1; try a learning"):
        trainer.run()


def test_a_start_without_an_encoder_is_named(tmp_path: Path) -> None:
    config = BehaviourConfig(stages=("ft1",), start=str(tmp_path))
    with pytest.raises(ConfigError, match=f"start = '{tmp_path}': no encoder there"):
        start_of(config, "any")


def test_data_without_users_to_learn_from_give_one_line(start: Path, tmp_path: Path) -> None:
    split = make_split()
    alone = replace(
        split, train_offsets=split.train_offsets // 7, train_items=split.train_items[:90]
    )
    with pytest.raises(InputError, match=r"^tuning the encoder, ft1: no user has two"):
        tune(start, tmp_path, alone)


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ({"stages": ("ft2",)}, r"stages \['ft2'\]: expected"),
        ({"stages": ("ft1",), "items_by": "ft2"}, "items_by 'ft2' is none of stages"),
        ({"items_by": "ft2"}, r"items_by 'ft2' is none of stages \[\]"),
        ({"start": "builds/mine"}, "start 'builds/mine' does nothing without stages"),
        ({"layers": "top"}, "expected all, strata, upper, or a list of layers"),
        ({"layers": [1, 1]}, "expected all, strata, upper, or a list of layers"),
        ({"layers": []}, "expected all, strata, upper, or a list of layers"),
    ],
)
def test_choices_that_do_not_fit_are_rejected(choices: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        BehaviourConfig(**choices)
