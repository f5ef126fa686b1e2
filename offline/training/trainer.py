"""The training loop: epochs, early stopping on validation, checkpoints that resume exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from model_store.errors import InputError
from offline.progress import Progress
from offline.training.averaging import WeightAverage
from offline.training.checkpoint import (
    gather_tensors,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
)
from offline.training.optimizer import new_optimizer
from offline.training.record import Epoch, TrainingRecord
from offline.training.seeds import seeded

Batch = TypeVar("Batch")
Schedule = Callable[[int, int, int], float]
"""Learning rate by epoch of the phase, step of the epoch (both from 0) and steps in an epoch."""


class Task(Protocol[Batch]):
    """A module, its batches, its loss and its validation."""

    @property
    def module(self) -> torch.nn.Module:
        """The module with all weights, on its training device."""
        ...

    def begin(self, phase: str) -> None:
        """Enable gradients for the parameters of a phase, and for no others."""
        ...

    def batches(self, rng: np.random.Generator) -> Sequence[Batch]:
        """An epoch's batches."""
        ...

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Mean loss of one batch, a scalar with gradients."""
        ...

    def validate(self) -> float | None:
        """NDCG@10, to choose the epoch by; None: all epochs are run and the last one is kept."""
        ...


@dataclass(frozen=True)
class Phase:
    """A phase of a training.

    Attributes:
        name: of the parameters that are trained, as the task understands it.
        epochs: at most.
    """

    name: str
    epochs: int


@dataclass(frozen=True)
class Plan:
    """The plan of a training.

    Attributes:
        phases: in order; each begins with the best weights of those before.
        patience: a phase ends after this many epochs without a better figure.
        seed: of all random draws.
        learning_rate: the highest; named where a training diverges.
        schedule: the learning rate of each step.
        weight_decay: of matrices.
        validate_start: measure the module before training too, and keep it if nothing is better.
        averaging: epochs over which weights are averaged, exponentially; the average is what is
            validated and kept. 0: the weights as they are.
    """

    phases: Sequence[Phase]
    patience: int
    seed: int
    learning_rate: float
    schedule: Schedule
    weight_decay: float
    validate_start: bool = False
    averaging: float = 0.0


class Trainer:
    """Trains a task's module in place, phase by phase, and leaves the best epoch's weights in it.

    Args:
        name: of the training, for progress and messages.
        task: module and objective.
        plan: phases, seed, learning rate and more.
        checkpoint: file to resume from and to save to after each epoch, or None.
        fingerprint: hash of everything that decides the result; other checkpoints are ignored.
    """

    def __init__(
        self,
        name: str,
        task: Task[Any],
        plan: Plan,
        checkpoint: Path | None = None,
        fingerprint: str = "",
    ) -> None:
        self.name, self.task, self.plan = name, task, plan
        self.checkpoint, self.fingerprint = checkpoint, fingerprint
        self.record = TrainingRecord()
        self._best: dict[str, Tensor] = {}
        self._begin(plan.phases[0])

    def run(self) -> TrainingRecord:
        """Train until the epochs or the patience are used up.

        Raises:
            InputError: there is nothing to learn from, or the loss is no longer a number.
        """
        self._resume()
        if self.plan.validate_start and not self.record.epochs:
            self._close_epoch(0, None, 0.0)
        progress: Progress | None = None
        try:
            for phase in self.plan.phases[self.plan.phases.index(self._phase) :]:
                if phase != self._phase:
                    self._begin(phase)
                while not self._finished():
                    progress = self._run_epoch(self.record.n_trained + 1, progress)
        finally:
            if progress is not None:
                progress.close()
        self.task.module.load_state_dict(self._best)
        return self.record

    def _begin(self, phase: Phase) -> None:
        """Begin a phase: from the best weights so far, with an optimizer of its own."""
        self._phase = phase
        # Training epochs before this phase; after a resume the record already has some of its own.
        self._before = sum(e.phase != phase.name and e.number > 0 for e in self.record.epochs)
        if self._best:
            self.task.module.load_state_dict(self._best)
        self.task.begin(phase.name)
        self._optimizer = new_optimizer(
            self.task.module, self.plan.learning_rate, self.plan.weight_decay
        )
        self._average = WeightAverage(self.task.module) if self.plan.averaging else None

    def _finished(self) -> bool:
        return self.record.of_phase(self._phase.name).finished(
            self._phase.epochs, self.plan.patience
        )

    def _run_epoch(self, number: int, progress: Progress | None) -> Progress:
        started = time.perf_counter()
        # An epoch's random draws come from (seed, epoch), so that a resumed run draws the same.
        rng = np.random.default_rng([self.plan.seed, number])
        module, total = self.task.module, 0.0
        module.train()
        with seeded(int(rng.integers(2**62)), module):
            batches = self.task.batches(rng)
            if not batches:
                raise InputError(
                    f"{self.name}: no user has two or more training interactions to learn from"
                )
            progress = progress or self._new_progress(len(batches))
            for step, batch in enumerate(batches):
                self._set_learning_rate(number, step, len(batches))
                loss = self.task.loss(batch, rng)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                if self._average is not None:
                    self._average.update(max(1.0, self.plan.averaging * len(batches)))
                total += loss.item()
                progress.advance(1, self._note(number, total / (step + 1)))
        module.eval()
        mean = total / len(batches)
        if not math.isfinite(mean):
            raise InputError(
                f"{self.name}: the loss became {mean} in epoch {number}; "
                f"try a learning_rate below {self.plan.learning_rate}"
            )
        self._close_epoch(number, mean, time.perf_counter() - started)
        return progress

    def _close_epoch(self, number: int, loss: float | None, train_s: float) -> None:
        """Validate, keep the weights where they are the best, and leave a checkpoint."""
        module, started = self.task.module, time.perf_counter()
        module.eval()
        with self._average.applied() if self._average is not None else nullcontext():
            ndcg = self.task.validate()
            validation_s = time.perf_counter() - started
            epoch = Epoch(number, loss, ndcg, train_s, validation_s, self._phase.name)
            if self.record.add(epoch):
                weights = module.state_dict()
                self._best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        if self.checkpoint is not None:
            self._save(self.checkpoint)

    def _save(self, checkpoint: Path) -> None:
        tensors = gather_tensors(self.task.module, self._optimizer, self._best)
        state: dict[str, Any] = {"fingerprint": self.fingerprint, "record": self.record.to_dict()}
        if self._average is not None:
            averages = self._average.tensors()
            tensors |= {f"average/{name}": tensor for name, tensor in averages.items()}
            state["averaged_steps"] = self._average.n_steps
        save_checkpoint(checkpoint, tensors, state)

    def _set_learning_rate(self, number: int, step: int, n_steps: int) -> None:
        rate = self.plan.schedule(number - 1 - self._before, step, n_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _new_progress(self, n_steps: int) -> Progress:
        """Over all epochs, taking them to be of as many steps as the next one."""
        epochs = sum(phase.epochs for phase in self.plan.phases)
        progress = Progress(self.name, total=epochs * n_steps, unit="step")
        progress.advance(self.record.n_trained * n_steps)
        return progress

    def _note(self, number: int, loss: float) -> str:
        phase = f" ({self._phase.name})" if len(self.plan.phases) > 1 else ""
        note = f"epoch {number}{phase}, loss {loss:.3f}"
        if (best := self.record.best_ndcg) is not None:
            note += f", NDCG@10 {self.record.epochs[-1].ndcg:.4f}"
            note += f" (best {best:.4f}, epoch {self.record.best_epoch})"
        return note

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoint) if self.checkpoint is not None else None
        if found is None or found[1].get("fingerprint") != self.fingerprint:
            return
        tensors, state = found
        self.record = TrainingRecord.from_dict(state["record"])
        self._begin(next(phase for phase in self.plan.phases if phase.name == self.record.phase))
        parts = restore_tensors(tensors, self.task.module, self._optimizer)
        self._best = parts["best"]
        if self._average is not None:
            self._average.restore(parts["average"], state["averaged_steps"])
