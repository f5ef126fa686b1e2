"""The training loop: epochs, early stopping on validation, checkpoints that resume exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from model_store.errors import InputError
from offline.progress import Progress
from offline.recommender.batches import Items, batches_by_length
from offline.recommender.checkpoint import (
    gather_tensors,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
)
from offline.recommender.config import TrainingConfig
from offline.recommender.learning_rate import learning_rate_at
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import Objective
from offline.recommender.optimizer import new_optimizer
from offline.recommender.phases import Phase, PhaseName, choose_trained, phases_of
from offline.recommender.seeds import seeded

Validate = Callable[[SequenceNetwork], float]


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures.

    Attributes:
        number: from 1.
        loss: mean training loss.
        ndcg: validation NDCG@10, None where nothing is held out.
        train_s: seconds of training.
        validation_s: seconds of validation.
        phase: what was trained.
    """

    number: int
    loss: float
    ndcg: float | None
    train_s: float
    validation_s: float
    phase: PhaseName


@dataclass
class TrainingRecord:
    """How a training went.

    Attributes:
        epochs: those that were run, in order, of all phases.
        best_epoch: the one whose weights were kept; 0 before any was run.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best_ndcg(self) -> float:
        """Validation NDCG@10 of the kept epoch; -inf without one."""
        kept = self.epochs[self.best_epoch - 1].ndcg if self.best_epoch else None
        return -math.inf if kept is None else kept

    @property
    def seconds(self) -> float:
        """What all epochs took, validation included, in however many runs."""
        return sum(epoch.train_s + epoch.validation_s for epoch in self.epochs)

    @property
    def phase(self) -> PhaseName | None:
        """That of the last epoch; None before any was run."""
        return self.epochs[-1].phase if self.epochs else None

    @property
    def best_phase(self) -> PhaseName | None:
        """That of the kept epoch."""
        return self.epochs[self.best_epoch - 1].phase if self.best_epoch else None

    def of_phase(self, phase: PhaseName) -> TrainingRecord:
        """A record of one phase, as if it had been all; its epochs are numbered from 1."""
        part = TrainingRecord()
        for epoch in self.epochs:
            if epoch.phase == phase:
                part.add(replace(epoch, number=len(part.epochs) + 1))
        return part

    def kept_epochs(self) -> list[int]:
        """Epochs that the kept weights went through, phase by phase.

        A later phase began with the best of an earlier one, not with its last.
        """
        phases = dict.fromkeys(epoch.phase for epoch in self.epochs[: self.best_epoch])
        return [self.of_phase(phase).best_epoch for phase in phases]

    def add(self, epoch: Epoch) -> bool:
        """Take in one more epoch; True where its weights are to be kept."""
        better = epoch.ndcg is None or epoch.ndcg > self.best_ndcg
        self.epochs.append(epoch)
        if better:
            self.best_epoch = epoch.number
        return better

    def exhausted(self, patience: int) -> bool:
        """Whether `patience` epochs went by without a better one."""
        return len(self.epochs) - self.best_epoch >= patience

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingRecord:
        """From what `to_dict` gave."""
        return cls([Epoch(**epoch) for epoch in values["epochs"]], values["best_epoch"])


class Trainer:
    """Trains a network in place, phase by phase, and leaves the best epoch's weights in it.

    Args:
        network: on the device it is to be trained on.
        objective: gives the loss of a batch.
        windows: training windows of item_indices.
        config: how to train.
        validate: NDCG@10 of the network; None: all epochs are run and the last one is kept.
        checkpoint: file to resume from and to save to after each epoch, or None.
        fingerprint: hash of all that decides the result; a checkpoint of another is ignored.
        phases: what is trained, in order; None: as the config says.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        objective: Objective,
        windows: list[Items],
        config: TrainingConfig,
        validate: Validate | None,
        checkpoint: Path | None = None,
        fingerprint: str = "",
        phases: Sequence[Phase] | None = None,
    ) -> None:
        self.network, self.objective, self.windows = network, objective, windows
        self.config, self.validate = config, validate
        self.checkpoint, self.fingerprint = checkpoint, fingerprint
        self.phases = phases or phases_of(config)
        self.record = TrainingRecord()
        self._best: dict[str, Tensor] = {}
        self._lengths = np.array([len(window) for window in windows], dtype=np.int64)
        self._steps_per_epoch = math.ceil(len(windows) / config.batch_size)
        self._begin(self.phases[0])

    def run(self) -> TrainingRecord:
        """Train until the epochs or the patience are used up.

        Raises:
            InputError: no user has two training items, or the loss is no longer a number.
        """
        if not self.windows:
            raise InputError("no user has two or more training interactions to learn from")
        self._resume()
        total = sum(phase.epochs for phase in self.phases) * self._steps_per_epoch
        with Progress("training", total=total, unit="step") as progress:
            progress.advance(len(self.record.epochs) * self._steps_per_epoch)
            for phase in self.phases[self.phases.index(self._phase) :]:
                if phase != self._phase:
                    self._begin(phase)
                while not self._finished():
                    self._run_epoch(len(self.record.epochs) + 1, progress)
        self.network.load_state_dict(self._best)
        return self.record

    def _begin(self, phase: Phase) -> None:
        """Go over to a phase: from the best weights so far, with an optimizer of its own."""
        self._phase = phase
        # Epochs before this phase; after resuming some of its own are on record already.
        self._before = sum(epoch.phase != phase.name for epoch in self.record.epochs)
        if self._best:
            self.network.load_state_dict(self._best)
        choose_trained(self.network, phase)
        self._optimizer = new_optimizer(
            self.network, self.config.learning_rate, self.config.weight_decay
        )

    def _finished(self) -> bool:
        record = self.record.of_phase(self._phase.name)
        epochs = len(record.epochs)
        stopped = self.validate is not None and record.exhausted(self.config.patience)
        return epochs >= self._phase.epochs or (epochs > 0 and stopped)

    def _run_epoch(self, number: int, progress: Progress) -> None:
        started = time.perf_counter()
        loss = self._train_epoch(number, progress)
        trained = time.perf_counter()
        ndcg = self.validate(self.network) if self.validate else None
        validated = time.perf_counter()
        epoch = Epoch(number, loss, ndcg, trained - started, validated - trained, self._phase.name)
        if self.record.add(epoch):
            self._best = {
                name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()
            }
        if self.checkpoint is not None:
            save_checkpoint(
                self.checkpoint,
                gather_tensors(self.network, self._optimizer, self._best),
                {"fingerprint": self.fingerprint, "record": self.record.to_dict()},
            )

    def _train_epoch(self, number: int, progress: Progress) -> float:
        # All chance of an epoch comes from (seed, epoch), so that a resumed run meets the same.
        rng = np.random.default_rng([self.config.seed, number])
        total = 0.0
        self.network.train()
        with seeded(int(rng.integers(2**62)), self.network):
            batches = batches_by_length(self._lengths, self.config.batch_size, rng)
            for step, batch in enumerate(batches):
                self._set_learning_rate((number - 1) * self._steps_per_epoch + step)
                loss = self.objective.loss(self.network, [self.windows[i] for i in batch], rng)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                total += loss.item()
                progress.advance(1, self._note(number, total / (step + 1)))
        self.network.eval()
        mean = total / self._steps_per_epoch
        if not math.isfinite(mean):
            raise InputError(
                f"the training loss became {mean} in epoch {number}; "
                f"try a learning_rate below {self.config.learning_rate}"
            )
        return mean

    def _set_learning_rate(self, step: int) -> None:
        of_phase = step - self._before * self._steps_per_epoch  # each phase has its own course
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(of_phase, self._steps_per_epoch, self.config)

    def _note(self, number: int, loss: float) -> str:
        trained = "" if self._phase.name == "all" else f" ({self._phase.name})"
        note = f"epoch {number}{trained}, loss {loss:.3f}"
        if self.validate is not None and self.record.best_epoch:
            note += f", NDCG@10 {self.record.epochs[-1].ndcg:.4f}"
            note += f" (best {self.record.best_ndcg:.4f}, epoch {self.record.best_epoch})"
        return note

    def _resume(self) -> None:
        found = load_checkpoint(self.checkpoint) if self.checkpoint is not None else None
        if found is None or found[1].get("fingerprint") != self.fingerprint:
            return
        tensors, state = found
        self.record = TrainingRecord.from_dict(state["record"])
        self._begin(next(phase for phase in self.phases if phase.name == self.record.phase))
        self._best = restore_tensors(tensors, self.network, self._optimizer)
