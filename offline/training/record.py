"""The record of a training: its epochs, and the one whose weights were kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures.

    Attributes:
        number: from 1; 0 is the network as it was before training, which has no loss.
        loss: mean training loss.
        figure: of validation, None where nothing is held out.
        train_s: seconds of training.
        validation_s: seconds of validation.
        phase: the phase it belongs to.
    """

    number: int
    loss: float | None
    figure: float | None
    train_s: float
    validation_s: float
    phase: str


@dataclass
class TrainingRecord:
    """The record of a training.

    Attributes:
        epochs: those that were run, in order, of all phases.
        best_epoch: the number of the one whose weights were kept; 0 before any was run.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best(self) -> Epoch | None:
        """The kept epoch; None before any was run."""
        return next((epoch for epoch in self.epochs if epoch.number == self.best_epoch), None)

    @property
    def best_figure(self) -> float | None:
        """Validation figure of the kept epoch; None where there is none."""
        return self.best.figure if self.best else None

    @property
    def best_phase(self) -> str | None:
        """Phase of the kept epoch; None before any was run."""
        return self.best.phase if self.best else None

    @property
    def phase(self) -> str | None:
        """Phase of the last epoch; None before any was run."""
        return self.epochs[-1].phase if self.epochs else None

    @property
    def n_trained(self) -> int:
        """Number of epochs of training that were run."""
        return self.epochs[-1].number if self.epochs else 0

    @property
    def seconds(self) -> float:
        """Seconds of all epochs, validation included, over all runs."""
        return sum(epoch.train_s + epoch.validation_s for epoch in self.epochs)

    def of_phase(self, phase: str) -> TrainingRecord:
        """The record of one phase by itself; its epochs are numbered from 1."""
        epochs = [epoch for epoch in self.epochs if epoch.phase == phase]
        part, before = TrainingRecord(), max(epochs[0].number - 1, 0) if epochs else 0
        for epoch in epochs:
            part.add(replace(epoch, number=epoch.number - before))
        return part

    def kept_epochs(self) -> list[int]:
        """Number of epochs that the kept weights went through, phase by phase.

        A later phase began with the best of an earlier one, not with its last.
        """
        phases = dict.fromkeys(
            epoch.phase for epoch in self.epochs if epoch.number <= self.best_epoch
        )
        return [self.of_phase(phase).best_epoch for phase in phases]

    def add(self, epoch: Epoch) -> bool:
        """Add one more epoch; True if its weights are the best so far."""
        best = self.best_figure
        better = epoch.figure is None or best is None or epoch.figure > best
        self.epochs.append(epoch)
        if better:
            self.best_epoch = epoch.number
        return better

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether `epochs` were trained, or `patience` of them without a better one."""
        trained = self.n_trained
        return trained >= epochs or (trained > 0 and trained - self.best_epoch >= patience)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingRecord:
        """The inverse of `to_dict`."""
        return cls([Epoch(**epoch) for epoch in values["epochs"]], values["best_epoch"])
