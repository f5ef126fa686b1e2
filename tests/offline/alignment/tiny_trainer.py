"""A trainer that keeps a journal of what it used, and goes on from its checkpoint."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from model_store.files import write_atomically
from offline.alignment.asynchronous import AsynchronousSource
from offline.alignment.config import AlignmentConfig
from tests.offline.alignment.tiny_models import SEED, TinyLearner

COMMAND = (sys.executable, "-m", "tests.offline.alignment.tiny_generator")
_CHECKPOINT, _JOURNAL = "checkpoint", "journal"


def tiny_config(**changes: object) -> AlignmentConfig:
    plain = {"steps": 40, "refresh_every": 4, "queue_size": 3, "seed": SEED}
    return AlignmentConfig.model_validate({**plain, "mode": "asynchronous", **changes})


def open_source(
    folder: Path, learner: TinyLearner, config: AlignmentConfig, delay_s: float = 0.0
) -> AsynchronousSource:
    command = [*COMMAND, "--delay-s", str(delay_s)]
    folder.mkdir(exist_ok=True)
    return AsynchronousSource(learner, learner.n_steps, config, folder, command, {})


def read_journal(folder: Path) -> list[dict[str, int]]:
    """What was used: a line for each update, and one at each start with pid and step."""
    return [json.loads(line) for line in (folder / _JOURNAL).read_text().splitlines()]


def train(folder: Path, config: AlignmentConfig, delay_s: float, save_every: int) -> None:
    """All steps that are left, with a checkpoint now and then."""
    checkpoint = folder / _CHECKPOINT
    learner = TinyLearner(int(checkpoint.read_text()) if checkpoint.exists() else 0, delay_s)
    source = open_source(folder, learner, config, delay_s)
    with (folder / _JOURNAL).open("a", buffering=1) as journal:
        journal.write(json.dumps({"begins": learner.n_steps, "pid": os.getpid()}) + "\n")
        try:
            for step in range(learner.n_steps + 1, config.steps + 1):
                for each in (experiences := source.take(step)):
                    used = {"step": step, "target": each.target, "snapshot": each.snapshot}
                    journal.write(json.dumps(used) + "\n")
                learner.update(experiences)
                if step % save_every == 0 or step == config.steps:
                    write_atomically(checkpoint, str(step).encode())
                source.updated(step, learner)
        finally:
            source.close()


if __name__ == "__main__":
    train(Path(sys.argv[1]), tiny_config(), delay_s=0.005, save_every=5)
