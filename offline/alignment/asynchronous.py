"""The trainer's side of asynchronous generation (SeRALM 4.4, figure 4)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from offline.alignment.batch_file import Batch
from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Experience, Learner
from offline.alignment.generator import QUEUE, SNAPSHOTS, generator_flags
from offline.alignment.generator_process import GeneratorProcess
from offline.alignment.queue import ExperienceQueue
from offline.alignment.snapshots import Snapshots

log = logging.getLogger(__name__)

_LOG = "generator.log"
_LOOK_S = 0.01
# Batches may take minutes; a person should see that it is not the trainer that is slow.
_LOG_WAIT_S = 60.0


class AsynchronousSource:
    """A `Source` of experiences that another process makes with weights of some updates ago.

    Args:
        learner: its weights are left for the generator.
        step: the last update that was made; 0 at the start.
        config: settings.
        folder: for the queue, the snapshots and the generator's log.
        command: starts a process that calls `run_generator`; its flags are added.
        environment: variables of that process alone.
    """

    def __init__(
        self,
        learner: Learner,
        step: int,
        config: AlignmentConfig,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self._config = config
        self._queue = ExperienceQueue(folder / QUEUE, config.queue_size)
        self._snapshots = Snapshots(folder / SNAPSHOTS)
        self._queue.begin(step)
        self._snapshots.begin()
        self._snapshots.publish(step, learner.save)
        self._process = GeneratorProcess(
            [*command, *generator_flags(folder, config)], folder / _LOG, environment
        )
        self._times = _Times()
        self._process.tend()

    def take(self, step: int) -> Sequence[Experience]:
        """See `Source.take`.

        Raises:
            GeneratorDied: the generator's process died several times in a row.
        """
        asked_s = logged_s = time.monotonic()
        while True:
            self._process.tend()
            if (batch := self._queue.take(step)) is not None:
                break
            if time.monotonic() - logged_s > _LOG_WAIT_S:
                logged_s = time.monotonic()
                log.warning("step %d waits for texts since %.0f s", step, logged_s - asked_s)
            time.sleep(_LOOK_S)
        self._process.has_worked()
        self._times.add(batch, asked_s)
        return batch.experiences

    def updated(self, step: int, learner: Learner) -> None:
        """Leave a snapshot every `refresh_every` updates; see `Source.updated`."""
        if step % self._config.refresh_every == 0:
            self._snapshots.publish(step, learner.save)

    def figures(self) -> dict[str, float]:
        """Of this process's steps so far, by name.

        Staleness is in updates between the weights that made an experience and those that it
        updates: 0 if they are the same. `trainer_waits` and `generator_waits` are shares of the
        time since the first batch in which one waited for the other.
        """
        return self._times.figures() | {"asynchronous/waiting_batches": self._queue.n_waiting}

    def close(self) -> None:
        """End the generator's process."""
        self._process.end()


class _Times:
    """Sums over the batches that were taken; of times, from the first batch on.

    Until then the generator loads its models.
    """

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._trainer_waited_s = 0.0
        self._generator_waited_s = self._generator_worked_s = 0.0
        self._staleness_sum = self._n_experiences = self._staleness_max = 0

    def add(self, batch: Batch, asked_s: float) -> None:
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        else:
            self._trainer_waited_s += now_s - asked_s
            self._generator_waited_s += batch.waited_s
            self._generator_worked_s += batch.worked_s
        staleness = [batch.number - 1 - each.snapshot for each in batch.experiences]
        self._staleness_sum += sum(staleness)
        self._n_experiences += len(staleness)
        self._staleness_max = max([self._staleness_max, *staleness])

    def figures(self) -> dict[str, float]:
        trainer_s = 0.0 if self._began_s is None else time.monotonic() - self._began_s
        generator_s = self._generator_waited_s + self._generator_worked_s
        return {
            "asynchronous/staleness_mean": _share(self._staleness_sum, self._n_experiences),
            "asynchronous/staleness_max": self._staleness_max,
            "asynchronous/trainer_waits": _share(self._trainer_waited_s, trainer_s),
            "asynchronous/generator_waits": _share(self._generator_waited_s, generator_s),
        }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
