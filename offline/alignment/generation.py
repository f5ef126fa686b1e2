"""Makes batches while the queue has room, with the newest weights that the trainer left.

Loads no torch: how texts are sampled is the sampler's business.
"""

from __future__ import annotations

import time

import numpy as np

from model_store.errors import InputError
from offline.alignment.batch_file import Batch
from offline.alignment.experience import Sampler
from offline.alignment.queue import ExperienceQueue
from offline.alignment.snapshots import Snapshots


class Generation:
    """The generator job of SeRALM's figure 4, one batch at a time.

    Args:
        sampler: draws the experiences.
        queue: gets them.
        snapshots: of the trainer.
        seed: a batch is drawn with random numbers of this and its own number.
        last: number of the last batch that is needed.
    """

    def __init__(
        self,
        sampler: Sampler,
        queue: ExperienceQueue,
        snapshots: Snapshots,
        *,
        seed: int,
        last: int,
    ) -> None:
        self._sampler, self._queue, self._snapshots = sampler, queue, snapshots
        self._seed, self._last = seed, last
        self._loaded: int | None = None
        self._ended_s = time.monotonic()

    def step(self) -> bool:
        """Make one batch and queue it; False if there is nothing to do yet.

        Raises:
            InputError: the newest snapshot can't be used.
        """
        started_s = time.monotonic()
        number = self._queue.next_number(self._last)
        if number is None or not self._refresh():
            return False
        experiences = tuple(self._sampler.draw(np.random.default_rng([self._seed, number])))
        worked_s = time.monotonic() - started_s
        self._queue.put(Batch(number, experiences, started_s - self._ended_s, worked_s))
        self._ended_s = time.monotonic()
        return True

    def _refresh(self) -> bool:
        """Load the newest weights if there are newer ones; False before there are any."""
        while (newest := self._snapshots.newest()) is not None:
            if newest.step == self._loaded:
                return True
            try:
                self._sampler.load(newest.folder)
            except (InputError, OSError):
                if newest.folder.exists():
                    raise
                continue  # replaced by newer ones and removed while it was read
            self._loaded = newest.step
            return True
        return False
