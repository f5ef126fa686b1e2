"""A training that is killed, at any point, goes on to the model it would have become."""

from __future__ import annotations

import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import InputError
from offline.recommender.config import TrainingConfig
from offline.recommender.phases import phases_of
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.training import SequenceTraining, plan_training
from offline.training.checkpoint import load_checkpoint, save_checkpoint
from offline.training.record import TrainingRecord
from offline.training.trainer import Trainer
from tests.offline.recommender import training_child
from tests.offline.recommender.planted import fresh_histories
from tests.offline.recommender.training_child import EPOCHS, new_model, small_cycle

pytestmark = pytest.mark.slow

CHECKPOINT = "training.safetensors"
KILL_AFTER_EPOCHS = (1, 5)


@pytest.fixture(scope="module")
def uninterrupted() -> SequenceRecommender:
    return new_model().fit(small_cycle())


def epochs_done(folder: Path) -> int:
    found = load_checkpoint(folder / CHECKPOINT)
    return len(found[1]["record"]["epochs"]) if found else 0


def assert_same(model: SequenceRecommender, wanted: SequenceRecommender) -> None:
    assert model.record.best_epoch == wanted.record.best_epoch
    assert [e.loss for e in model.record.epochs] == [e.loss for e in wanted.record.epochs]
    assert [e.figure for e in model.record.epochs] == [e.figure for e in wanted.record.epochs]
    np.testing.assert_array_equal(model.item_table, wanted.item_table)
    histories = fresh_histories()
    np.testing.assert_array_equal(model.score(histories), wanted.score(histories))


def test_killed_twice_it_becomes_the_same_model(
    uninterrupted: SequenceRecommender, tmp_path: Path
) -> None:
    # Children of a process of their own that has torch loaded: to load it takes seconds each time.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([SequenceRecommender.__module__])
    for epochs in KILL_AFTER_EPOCHS:
        child = processes.Process(target=training_child.train, args=[tmp_path, epochs + 3])
        child.start()
        deadline = time.monotonic() + 60
        while epochs_done(tmp_path) < epochs and child.is_alive():
            assert time.monotonic() < deadline, "the child trains too slowly"
            time.sleep(0.01)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert epochs <= epochs_done(tmp_path) < EPOCHS
    assert_same(new_model().fit(small_cycle(), tmp_path), uninterrupted)


def test_a_finished_training_is_not_repeated(
    uninterrupted: SequenceRecommender, tmp_path: Path
) -> None:
    first = new_model().fit(small_cycle(), tmp_path)
    again = new_model().fit(small_cycle(), tmp_path)
    assert_same(again, uninterrupted)
    assert [e.train_s for e in again.record.epochs] == [e.train_s for e in first.record.epochs]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_not_believed(
    uninterrupted: SequenceRecommender, tmp_path: Path, damage: bytes | None
) -> None:
    path = tmp_path / CHECKPOINT
    new_model().fit(small_cycle(), tmp_path)
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    assert_same(new_model().fit(small_cycle(), tmp_path), uninterrupted)


def test_a_checkpoint_of_other_choices_or_data_is_not_believed(
    uninterrupted: SequenceRecommender, tmp_path: Path
) -> None:
    other = new_model()
    other.training = other.training.model_copy(update={"seed": 3, "epochs": 2})
    other.fit(small_cycle(), tmp_path)
    assert_same(new_model().fit(small_cycle(), tmp_path), uninterrupted)
    other_data = new_model().fit(small_cycle(seed=1), tmp_path)
    assert not np.array_equal(other_data.item_table, uninterrupted.item_table)


def test_a_checkpoint_holds_what_was_given(tmp_path: Path) -> None:
    tensors = {"a/b": torch.arange(3.0), "c": torch.zeros(0, 2)}
    save_checkpoint(tmp_path / "new" / "one", tensors, {"epoch": 3, "ndcg": 0.1})
    found = load_checkpoint(tmp_path / "new" / "one")
    assert found is not None
    assert found[1] == {"epoch": 3, "ndcg": 0.1}
    assert all(torch.equal(found[0][name], tensor) for name, tensor in tensors.items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one"]


class _Diverging:
    """An objective whose loss is no number."""

    def loss(self, network, windows, rng, weights=None) -> torch.Tensor:  # noqa: ARG002
        return network.items().sum() * float("nan")


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    network = torch.nn.Module()
    network.items = lambda: network.weight
    network.weight = torch.nn.Parameter(torch.ones(2, 2))
    windows, config = [np.array([1, 2], np.int32)], TrainingConfig()
    task = SequenceTraining(network, _Diverging(), windows, config.batch_size, validate=None)
    trainer = Trainer("training", task, plan_training(config, phases_of(config)))
    with pytest.raises(InputError, match=r"^training: the loss became nan in epoch 1; try a"):
        trainer.run()


def test_a_record_survives_json() -> None:
    record = new_model().fit(small_cycle()).record
    assert TrainingRecord.from_dict(record.to_dict()) == record
