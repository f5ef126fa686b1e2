"""Tuning in epochs: the best one is kept, and what was stopped goes on exactly where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from model_store.errors import InputError
from offline.behaviour.config import TuningConfig
from offline.progress import Progress
from offline.recommender.checkpoint import (
    gather_tensors,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
)
from offline.recommender.optimizer import new_optimizer
from offline.recommender.seeds import seeded

Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """What is tuned for."""

    @property
    def module(self) -> torch.nn.Module:
        """All that has weights."""
        ...

    def batches(self, rng: np.random.Generator) -> Sequence[Batch]:
        """An epoch's batches."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Of one batch, with gradients."""
        ...

    def validate(self) -> float | None:
        """A figure to choose the epoch by; None: the last one is kept."""
        ...


@dataclass(frozen=True)
class TunedEpoch:
    """One epoch's figures; number 0 is the encoder as it was, and has no loss."""

    number: int
    loss: float | None
    ndcg: float | None
    train_s: float
    validation_s: float


@dataclass
class TuningRecord:
    """How a tuning went.

    Attributes:
        epochs: from number 0, those that were run.
        best_epoch: whose weights were kept.
    """

    epochs: list[TunedEpoch] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best_ndcg(self) -> float | None:
        """Validation NDCG@10 of the kept epoch, where there is one."""
        return self.epochs[self.best_epoch].ndcg if self.epochs else None

    def add(self, epoch: TunedEpoch) -> bool:
        """Take in one more epoch; True where its weights are to be kept."""
        best = self.best_ndcg
        better = epoch.ndcg is None or best is None or epoch.ndcg > best
        self.epochs.append(epoch)
        if better:
            self.best_epoch = epoch.number
        return better

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether all epochs were run, or `patience` went by without a better one."""
        last = len(self.epochs) - 1
        return last >= epochs or last - self.best_epoch >= patience

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TuningRecord:
        """From what `to_json` gave."""
        return cls([TunedEpoch(**epoch) for epoch in values["epochs"]], values["best_epoch"])


class Tuning:
    """Tunes a task's module in place, and leaves the best epoch's weights in it.

    Args:
        name: of the stage, for progress and messages.
        task: what is tuned for.
        config: how.
        patience: epochs without a better figure after which it ends.
        checkpoint: file to go on from and to save to after each epoch; nobody else's.
    """

    def __init__(
        self,
        name: str,
        task: Task[Any],
        config: TuningConfig,
        patience: int,
        checkpoint: Path,
    ) -> None:
        self.name, self.task, self.config, self.patience = name, task, config, patience
        self.checkpoint = checkpoint
        self.record = TuningRecord()
        self._best: dict[str, Tensor] = {}
        self._optimizer = new_optimizer(task.module, config.learning_rate, config.weight_decay)

    def run(self) -> TuningRecord:
        """Tune to the end.

        Raises:
            InputError: there is nothing to learn from, or the loss became NaN or infinite.
        """
        self._resume()
        if not self.record.epochs:
            self._close_epoch(0, None, 0.0)
        while not self.record.finished(self.config.epochs, self.patience):
            self._run_epoch(len(self.record.epochs))
        self.task.module.load_state_dict(self._best)
        return self.record

    def _run_epoch(self, number: int) -> None:
        started = time.perf_counter()
        # All chance of an epoch comes from (seed, epoch), so that a resumed run meets the same.
        rng = np.random.default_rng([self.config.seed, number])
        module, total = self.task.module, 0.0
        with seeded(int(rng.integers(2**62)), module):
            module.train()
            batches = self.task.batches(rng)
            if not batches:
                raise InputError(f"{self.name}: nobody has two interactions to learn from")
            label = f"{self.name}, epoch {number} of {self.config.epochs}"
            with Progress(label, len(batches), "step") as progress:
                for step, batch in enumerate(batches):
                    self._set_learning_rate(number - 1 + step / len(batches))
                    loss = self.task.loss(batch)
                    self._optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    self._optimizer.step()
                    total += loss.item()
                    progress.advance(1, f"loss {total / (step + 1):.3f}, {self._note()}")
            module.eval()
        mean = total / len(batches)
        if not math.isfinite(mean):
            raise InputError(
                f"{self.name}: the loss became {mean} in epoch {number}; "
                f"try a learning_rate below {self.config.learning_rate}"
            )
        self._close_epoch(number, mean, time.perf_counter() - started)

    def _close_epoch(self, number: int, loss: float | None, train_s: float) -> None:
        started = time.perf_counter()
        self.task.module.eval()
        ndcg = self.task.validate()
        epoch = TunedEpoch(number, loss, ndcg, train_s, time.perf_counter() - started)
        if self.record.add(epoch):
            weights = self.task.module.state_dict()
            self._best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        save_checkpoint(
            self.checkpoint,
            gather_tensors(self.task.module, self._optimizer, self._best),
            {"record": self.record.to_json()},
        )

    def _set_learning_rate(self, epochs_done: float) -> None:
        done = epochs_done / self.config.epochs
        warm = self.config.warm_up_share
        # The first step isn't one of nothing, nor the last.
        share = max(done, 1e-3) / warm if done < warm else (1 - done) / (1 - warm)
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * min(1.0, share)

    def _note(self) -> str:
        best = self.record.best_ndcg
        if best is None:
            return f"{len(self.record.epochs) - 1} epochs done"
        return f"best NDCG@10 {best:.4f} (epoch {self.record.best_epoch})"

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoint)
        if found is None:
            return
        tensors, state = found
        self._best = restore_tensors(tensors, self.task.module, self._optimizer)
        self.record = TuningRecord.from_json(state["record"])
