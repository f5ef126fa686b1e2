"""Memory and time of a training over a large catalogue.

`python -m tests.end_to_end.large_catalogue --items 10000000 --updates sparse` trains SASRec (D 64,
two layers, histories of 50) for some steps on made interactions, in which every item is chosen
once, and half as many again by popularity. Its last line is one JSON document. The CPU time of a
step counts where other work delays it. Compare `--updates dense` at a size that fits.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from itertools import count
from typing import Any

import numpy as np
import torch

from offline.data.histories import Items
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.training import SequenceTraining

LENGTH = 50
NOT_TIMED = 5


def made_sequences(n_items: int, seed: int = 0) -> list[Items]:
    """Sequences of LENGTH in which each item stands, and popular ones more often."""
    random = np.random.default_rng(seed)
    once = random.permutation(n_items) + 1
    by_popularity = np.exp(random.random(n_items // 2) * np.log(n_items)).astype(np.int64)
    chosen = random.permutation(np.concatenate([once, by_popularity])).astype(np.int32)
    return list(chosen[: len(chosen) // LENGTH * LENGTH].reshape(-1, LENGTH))


class Timed(SequenceRecommender):
    """Trains for some steps, and times all but the first ones, in which memory is allocated."""

    n_steps: int
    clock_s = cpu_s = 0.0

    def _new_task(self, *arguments: Any) -> SequenceTraining:
        task = super()._new_task(*arguments)
        batches, loss, done = task.batches, task.loss, count()

        def some_batches(rng: np.random.Generator) -> Any:
            return batches(rng)[: self.n_steps]

        def timed_loss(batch: Any, rng: np.random.Generator) -> torch.Tensor:
            if next(done) == NOT_TIMED:
                self.clock_s, self.cpu_s = -time.perf_counter(), -time.process_time()
            return loss(batch, rng)

        def end() -> None:
            self.clock_s += time.perf_counter()
            self.cpu_s += time.process_time()

        task.batches, task.loss, task.validate = some_batches, timed_loss, end  # type: ignore[method-assign]
        return task


def peak_gb() -> float:
    """Of this process's resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--updates", choices=("dense", "sparse"), default="sparse")
    parser.add_argument("--negatives", type=int, default=1_024)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100, help="at most as many as an epoch has")
    chosen = parser.parse_args()
    sequences = made_sequences(chosen.items)
    n_steps = min(chosen.steps, -(-len(sequences) // chosen.batch_size))
    data, before_gb = TrainingData(sequences, chosen.items), peak_gb()
    training = TrainingConfig(
        epochs=1,
        batch_size=chosen.batch_size,
        sampled_negatives=chosen.negatives,
        table_updates=chosen.updates,
    )
    model = Timed(SasrecConfig(max_length=LENGTH), training)
    model.n_steps = n_steps
    model.fit(data)
    n_timed = n_steps - NOT_TIMED
    result = {
        "items": chosen.items,
        "updates": chosen.updates,
        "negatives": chosen.negatives,
        "batch_size": chosen.batch_size,
        "steps": n_steps,
        "step_s": round(model.clock_s / n_timed, 4),
        "step_cpu_s": round(model.cpu_s / n_timed, 4),
        "trained_interactions_s": round(chosen.batch_size * LENGTH * n_timed / model.cpu_s),
        "loss": round(model.record.epochs[-1].loss or 0.0, 4),
        "peak_gb": round(peak_gb(), 2),
        "before_gb": round(before_gb, 2),
        "table_gb": round(model.item_table.nbytes / 1e9, 2),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
