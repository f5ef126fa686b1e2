"""The training loop: epochs, early stopping on validation, checkpoints that resume exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
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
from offline.training.group import current
from offline.training.optimizer import new_optimizer
from offline.training.record import Epoch, TrainingRecord
from offline.training.seeds import random_state, restore_random_state, seeded

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
        """Mean loss of one batch, a scalar with gradients; in a group a share of it."""
        ...

    def validate(self) -> float | None:
        """The figure to choose the epoch by, the higher the better.

        None: all epochs are run and the last one is kept.
        """
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
        save_every_s: leave a checkpoint within an epoch after so many seconds, too. 0: after
            epochs only.
        figure: name of what `Task.validate` answers, for the progress.
        lazy: gradients may be sparse, and of such a parameter only their rows are changed.
    """

    phases: Sequence[Phase]
    patience: int
    seed: int
    learning_rate: float
    schedule: Schedule
    weight_decay: float
    validate_start: bool = False
    averaging: float = 0.0
    save_every_s: float = 0.0
    figure: str = "NDCG@10"
    lazy: bool = False


@dataclass
class _Begun:
    """An epoch that is under way.

    Attributes:
        number: of the epoch.
        step: number of steps that were run.
        loss: sum over these steps.
        train_s: seconds they took.
        generator: state of numpy's random generator after them; None before any was run.
    """

    number: int
    step: int = 0
    loss: float = 0.0
    train_s: float = 0.0
    generator: dict[str, Any] | None = None


class Trainer:
    """Trains a task's module in place, phase by phase, and leaves the best epoch's weights in it.

    In a group (`offline.training.group`) every process runs it, and all come to the same weights.
    The task's loss is then a process's share of the loss, and the first one alone saves.

    Args:
        name: of the training, for progress and messages.
        task: module and objective.
        plan: phases, seed, learning rate and more.
        checkpoint: file to resume from and to save to, or None.
        fingerprint: hash of everything that decides the result; other checkpoints are ignored.
        note: text behind the loss in the progress.
    """

    def __init__(
        self,
        name: str,
        task: Task[Any],
        plan: Plan,
        checkpoint: Path | None = None,
        fingerprint: str = "",
        note: Callable[[], str] = lambda: "",
    ) -> None:
        self.name, self.task, self.plan = name, task, plan
        self.checkpoint, self.fingerprint = checkpoint, fingerprint
        self.record = TrainingRecord()
        self._best: dict[str, Tensor] = {}
        self._note_of_task = note
        # An epoch that a resumed training was in, and the random state it goes on with.
        self._begun: _Begun | None = None
        self._random: dict[str, Tensor] = {}
        self._group = current()
        self._begin(plan.phases[0])

    def run(self) -> TrainingRecord:
        """Train until the epochs or the patience are used up.

        Raises:
            InputError: there is nothing to learn from, or the loss is no longer a number.
        """
        self._resume()
        self._start_together()
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

    def _start_together(self) -> None:
        """Begin with the first process's weights, each at the same epoch."""
        n_trained = self._group.first(self.record.n_trained)
        if n_trained != self.record.n_trained:
            raise InputError(
                f"{self.name}: the first process goes on after {n_trained:.0f} epochs and process "
                f"{self._group.rank} after {self.record.n_trained}; they need one folder for "
                "their files"
            )
        self._group.share_first(self.task.module)

    def _begin(self, phase: Phase) -> None:
        """Begin a phase: from the best weights so far, with an optimizer of its own."""
        self._phase = phase
        # Training epochs before this phase; after a resume the record already has some of its own.
        self._before = sum(e.phase != phase.name and e.number > 0 for e in self.record.epochs)
        if self._best:
            self.task.module.load_state_dict(self._best)
        self.task.begin(phase.name)
        self._optimizer = new_optimizer(
            self.task.module, self.plan.learning_rate, self.plan.weight_decay, lazy=self.plan.lazy
        )
        self._average = WeightAverage(self.task.module) if self.plan.averaging else None

    def _finished(self) -> bool:
        return self.record.of_phase(self._phase.name).finished(
            self._phase.epochs, self.plan.patience
        )

    def _run_epoch(self, number: int, progress: Progress | None) -> Progress:
        begun = self._begun or _Begun(number)
        started = saved = time.perf_counter()
        started -= begun.train_s
        # An epoch's random draws come from (seed, epoch), so that a resumed run draws the same.
        rng = np.random.default_rng([self.plan.seed, number])
        module = self.task.module
        module.train()
        # Each process drops out what it drops out; all else is drawn from `rng`, alike in all.
        with seeded(int(rng.integers(2**62)) + self._group.rank, module):
            batches = self.task.batches(rng)
            if not batches:
                raise InputError(
                    f"{self.name}: no user has two or more training interactions to learn from"
                )
            progress = progress or self._new_progress(len(batches), begun.step)
            self._restore_draws(rng)
            for step in range(begun.step, len(batches)):
                self._set_learning_rate(number, step, len(batches))
                begun.loss += self._run_step(batches[step], rng, len(batches))
                begun.step = step + 1
                progress.advance(1, self._note(number, begun.loss / begun.step))
                now = time.perf_counter()
                if self._saves_within_epochs and now - saved >= self.plan.save_every_s:
                    begun.train_s, begun.generator = now - started, dict(rng.bit_generator.state)
                    self._save(begun)
                    saved = now
        module.eval()
        mean = begun.loss / len(batches)
        if not math.isfinite(mean):
            raise InputError(
                f"{self.name}: the loss became {mean} in epoch {number}; "
                f"try a learning_rate below {self.plan.learning_rate}"
            )
        self._close_epoch(number, mean, time.perf_counter() - started)
        progress.note(self._note(number, mean))
        return progress

    def _run_step(self, batch: Any, rng: np.random.Generator, n_steps: int) -> float:
        """One step down the gradient; returns the loss."""
        loss = self.task.loss(batch, rng)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._group.add_gradients(self.task.module)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(max(1.0, self.plan.averaging * n_steps))
        return self._group.add(loss.item())

    def _restore_draws(self, rng: np.random.Generator) -> None:
        """Go on with the random state of a resumed epoch, if there is one."""
        if self._begun is not None and self._begun.generator is not None:
            rng.bit_generator.state = self._begun.generator
            restore_random_state(self._random, self.task.module)
        self._begun, self._random = None, {}

    @property
    def _saves_within_epochs(self) -> bool:
        # A checkpoint has the random state of one process.
        return self.checkpoint is not None and self.plan.save_every_s > 0 and self._group.size == 1

    def _close_epoch(self, number: int, loss: float | None, train_s: float) -> None:
        """Validate, keep the weights where they are the best, and leave a checkpoint."""
        module, started = self.task.module, time.perf_counter()
        module.eval()
        with self._average.applied() if self._average is not None else nullcontext():
            figure = self.task.validate()
            if figure is not None:  # rounded alike, so that all stop at the same epoch
                figure = self._group.first(figure)
            validation_s = time.perf_counter() - started
            epoch = Epoch(number, loss, figure, train_s, validation_s, self._phase.name)
            if self.record.add(epoch):
                self._keep_weights()
        self._save()

    def _keep_weights(self) -> None:
        """Copy the weights, into the place of earlier ones: a table may be large."""
        weights = self.task.module.state_dict()
        if not self._best:
            self._best = {name: torch.empty_like(tensor) for name, tensor in weights.items()}
        for name, tensor in weights.items():
            self._best[name].copy_(tensor)

    def _save(self, begun: _Begun | None = None) -> None:
        """Leave a checkpoint, within an epoch if one was begun."""
        if self.checkpoint is None:
            return
        tensors = gather_tensors(self.task.module, self._optimizer, self._best)
        if not self._group.leads:
            return
        state: dict[str, Any] = {"fingerprint": self.fingerprint, "record": self.record.to_dict()}
        if begun is not None:
            tensors |= {f"random/{n}": t for n, t in random_state(self.task.module).items()}
            state |= {"begun": asdict(begun), "phase": self._phase.name}
        if self._average is not None:
            averages = self._average.tensors()
            tensors |= {f"average/{name}": tensor for name, tensor in averages.items()}
            state["averaged_steps"] = self._average.n_steps
        save_checkpoint(self.checkpoint, tensors, state)

    def _set_learning_rate(self, number: int, step: int, n_steps: int) -> None:
        rate = self.plan.schedule(number - 1 - self._before, step, n_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _new_progress(self, n_steps: int, begun: int) -> Progress:
        """Over all epochs, taking them to be of as many steps as the next one."""
        epochs = sum(phase.epochs for phase in self.plan.phases)
        progress = Progress(self.name, total=epochs * n_steps, unit="step")
        progress.advance(self.record.n_trained * n_steps + begun)
        return progress

    def _note(self, number: int, loss: float) -> str:
        phase = f" ({self._phase.name})" if len(self.plan.phases) > 1 else ""
        note = f"epoch {number}{phase}, loss {loss:.3f}"
        if (best := self.record.best_figure) is not None:
            last = self.record.epochs[-1]
            after = f" after epoch {last.number}" if last.number != number else ""
            note += f", {self.plan.figure} {last.figure:.4f}{after}"
            note += f" (best {best:.4f}, epoch {self.record.best_epoch})"
        return ", ".join(filter(None, (note, self._note_of_task())))

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoint) if self.checkpoint is not None else None
        if found is None or found[1].get("fingerprint") != self.fingerprint:
            return
        tensors, state = found
        self.record = TrainingRecord.from_dict(state["record"])
        name = state.get("phase", self.record.phase)
        self._begin(next(phase for phase in self.plan.phases if phase.name == name))
        parts = restore_tensors(tensors, self.task.module, self._optimizer)
        self._best, self._random = parts.get("best", {}), parts.get("random", {})
        self._begun = _Begun(**state["begun"]) if "begun" in state else None
        if self._average is not None:
            self._average.restore(parts["average"], state["averaged_steps"])
