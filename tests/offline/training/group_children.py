"""What a group's processes do in its tests."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import LongtailError
from offline.artifact import Artifact, Facts
from offline.behaviour.config import BehaviourConfig
from offline.behaviour.stages import tune_on_behaviour
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.sequential import SequenceRecommender
from offline.stages.stage import Stage, run_stage
from offline.training.group import Group, GroupError, current
from tests.offline.behaviour.world import ITEM_TEXTS, make_split
from tests.offline.recommender.training_child import (
    new_model,
    small_cycle,
    wait_after_epoch,
)

EPOCHS = 8


def train_until_killed(rank: int, folder: Path, last: int) -> None:
    """The same until after an epoch."""
    wait_after_epoch(last)
    train(rank, folder)


def train(rank: int, folder: Path) -> None:
    """Train into `folder/resumed-RANK` with checkpoints, and then into `whole-RANK` without."""
    for name, checkpoints in (("resumed", folder), ("whole", None)):
        model = new_model()
        model.training = model.training.model_copy(update={"epochs": EPOCHS})
        model.fit(small_cycle(), checkpoints).save(folder / f"{name}-{rank}")


def train_sharded(rank: int, folder: Path, name: str, epochs: int) -> None:
    """Train with sharded rows, and checkpoints in `folder`."""
    sharded_model(epochs).fit(small_cycle(), folder).save(folder / f"{name}-{rank}")


class OfAnyEpochs(SequenceRecommender):
    """Goes on with checkpoints of shorter trainings."""

    def _fingerprint(self, *_: Any) -> str:
        return ""


def sharded_model(epochs: int) -> SequenceRecommender:
    """Without dropout, so that any number of processes comes to the same."""
    config = SasrecConfig(embedding_size=16, layers=1, heads=2, max_length=8, dropout=0.0)
    choices = {"batch_size": 8, "sampled_negatives": 6, "table_updates": "sparse"}
    training = TrainingConfig.model_validate(choices | {"epochs": epochs, "weight_decay": 0.1})
    return OfAnyEpochs(config, training)


def tune(rank: int, folder: Path, encoder: Path) -> None:
    """Tune a text encoder into `folder/ft1`, then `folder/ft2`, and note the losses."""
    config = BehaviourConfig(
        stages=("ft1", "ft2"), layers="all", epochs=2, batch_size=15, dropout=0.0, device="cpu"
    )
    records = tune_on_behaviour(ITEM_TEXTS, make_split(), config, str(encoder), folder)
    noted = {name: record.to_dict() for name, record in records.items()}
    (folder / f"records-{rank}.json").write_text(json.dumps(noted))


def lose_the_other(rank: int, folder: Path) -> None:
    """The second process ends without a word; the first one notes what it is told."""
    group = current()
    group.wait()
    if rank == 1:
        os._exit(0)
    try:
        while True:
            group.wait()
            time.sleep(0.01)
    except GroupError as error:
        (folder / "error").write_text(str(error))


@dataclass(frozen=True)
class Noted(Stage[Artifact]):
    """A stage that knows which processes ran it."""

    name = "noted"

    @property
    def artifact(self) -> type[Artifact]:
        return Artifact

    def run(self, folder: Path) -> Facts:
        (folder.parent / f"ran-{self.name}-{os.getpid()}").touch()
        total = current().add(1.0)
        if current().leads:
            (folder / "result").write_text(f"{total:g}")
        return {}


@dataclass(frozen=True)
class Trained(Noted):
    """The same, and it trains."""

    name = "trained"
    trains = True


def run_stages(rank: int, folder: Path) -> None:
    group, notes = current(), []
    for stage in (Noted(), Trained(), Trained()):
        lines: list[str] = []
        artifact = run_stage(stage, folder, lines.append, group)
        notes.append([artifact.path("result").read_text(), *lines[:1]])
    notes.append(_error_elsewhere(folder, rank, group))
    (folder / f"notes-{rank}.json").write_text(json.dumps(notes))


def _error_elsewhere(folder: Path, rank: int, group: Group) -> str:
    """What is said where the processes have folders of their own."""
    try:
        run_stage(Noted(), folder / f"own-{rank}", lambda _: None, group)
    except LongtailError as error:
        return str(error)
    return ""
