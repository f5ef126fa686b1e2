"""Laws of the training loop, on a module of one weight that is drawn to random targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import InputError
from offline.training.trainer import Phase, Plan, Trainer

PHASES = (Phase("first", 3), Phase("second", 3))


class Pull:
    """Draws a weight towards targets that the trainer's random numbers decide."""

    def __init__(self, figures: Sequence[float | None] = (), n_batches: int = 2) -> None:
        self.module = torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(self.module.weight)
        self.figures, self.n_batches = list(figures), n_batches
        self.begun: list[str] = []
        self.validated = 0

    def begin(self, phase: str) -> None:
        self.begun.append(phase)

    def batches(self, rng: np.random.Generator) -> list[float]:
        return rng.random(self.n_batches).tolist()

    def loss(self, batch: float, rng: np.random.Generator) -> torch.Tensor:
        noise = float(rng.random()) + float(torch.rand(()))
        return (self.module.weight - batch - noise).square().sum()

    def validate(self) -> float | None:
        self.validated += 1
        return self.figures[self.validated - 1] if self.figures else None


class StoppedError(Exception):
    pass


class Stopped(Pull):
    """Ends with an error while its n-th epoch is validated."""

    def __init__(self, figures: Sequence[float | None], at: int) -> None:
        super().__init__(figures)
        self.at = at

    def validate(self) -> float | None:
        if self.validated == self.at:
            raise StoppedError
        return super().validate()


def plan(phases: Sequence[Phase] = PHASES, **choices: object) -> Plan:
    values = {"patience": 9, "seed": 0, "learning_rate": 0.1, "weight_decay": 0.0}
    return Plan(phases, **{"schedule": falling, **values, **choices})  # type: ignore[arg-type]


def falling(epoch: int, step: int, n_steps: int) -> float:
    return 0.1 / (1 + epoch * n_steps + step)


def weight(task: Pull) -> float:
    return float(task.module.weight.detach())


@pytest.mark.parametrize("averaging", [0.0, 1.5])
@pytest.mark.parametrize("validate_start", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
def test_stopped_after_any_epoch_it_comes_to_the_same(
    tmp_path: Path, at: int, validate_start: bool, averaging: float
) -> None:
    figures = [0.1, 0.3, 0.2, 0.25, 0.4, 0.35, 0.1]
    whole, how = Pull(figures), plan(validate_start=validate_start, averaging=averaging)
    wanted = Trainer("pull", whole, how).run()
    with pytest.raises(StoppedError):
        Trainer("pull", Stopped(figures, at), how, tmp_path / "one").run()
    resumed = Pull(figures)
    resumed.validated = at
    found = Trainer("pull", resumed, how, tmp_path / "one").run()
    assert [(e.number, e.loss, e.figure, e.phase) for e in found.epochs] == [
        (e.number, e.loss, e.figure, e.phase) for e in wanted.epochs
    ]
    assert weight(resumed) == weight(whole)


def test_a_checkpoint_with_another_fingerprint_is_ignored(tmp_path: Path) -> None:
    Trainer("pull", Pull(), plan(), tmp_path / "one", "a").run()
    task = Pull()
    assert Trainer("pull", task, plan(), tmp_path / "one", "b").run().n_trained == 6
    assert task.validated == 6


def test_the_module_as_it_was_is_kept_where_nothing_is_better() -> None:
    task = Pull([0.5, 0.4, 0.3, 0.2])
    record = Trainer("pull", task, plan(PHASES[:1], validate_start=True)).run()
    assert (record.best_epoch, record.epochs[0].loss, weight(task)) == (0, None, 0.0)


class Watched(Pull):
    """Notes its weight after each step and at each validation."""

    def __init__(self) -> None:
        super().__init__(n_batches=40)
        self.after_steps: list[float] = []
        self.at_validation: list[float] = []

    def loss(self, batch: float, rng: np.random.Generator) -> torch.Tensor:
        self.after_steps.append(weight(self))
        return super().loss(batch, rng)

    def validate(self) -> float | None:
        self.at_validation.append(weight(self))
        return super().validate()


def test_the_average_of_the_last_steps_is_validated_and_kept_and_not_trained_on() -> None:
    plain, averaged = Watched(), Watched()
    phases = [Phase("first", 4)]
    Trainer("pull", plain, plan(phases, schedule=lambda *_: 0.1)).run()
    Trainer("pull", averaged, plan(phases, schedule=lambda *_: 0.1, averaging=0.5)).run()
    assert averaged.after_steps == plain.after_steps
    assert weight(averaged) == averaged.at_validation[-1]
    # 0.5 epochs are 20 steps, so each weighs in with a twentieth of what is left.
    shares = 0.05 * 0.95 ** np.arange(120)
    latest = np.array([plain.at_validation[-1], *plain.after_steps[:0:-1]])[:120]
    expected = float((shares * latest).sum() / shares.sum())
    assert weight(averaged) == pytest.approx(expected, rel=1e-2)
    assert abs(weight(averaged) - weight(plain)) > 1e-3


def test_each_phase_has_its_own_patience_and_course_of_the_learning_rate() -> None:
    epochs: list[int] = []

    def schedule(epoch: int, step: int, n_steps: int) -> float:
        epochs.append(epoch)
        assert 0 <= step < n_steps == 2
        return 0.1

    task = Pull([0.3, 0.2, 0.1, 0.1, 0.2, 0.3])
    record = Trainer("pull", task, plan(patience=2, schedule=schedule)).run()
    assert task.begun == ["first", "second"]
    assert [epoch.phase for epoch in record.epochs] == ["first"] * 3 + ["second"] * 3
    assert epochs == [0, 0, 1, 1, 2, 2] * 2
    assert record.best_epoch == 1


def test_without_figures_all_epochs_are_run_and_the_last_is_kept() -> None:
    record = Trainer("pull", Pull(), plan(patience=1)).run()
    assert (record.n_trained, record.best_epoch, record.best_figure) == (6, 6, None)


def test_data_without_anything_to_learn_give_one_line() -> None:
    with pytest.raises(InputError, match=r"^pull: no user has two or more training interactions"):
        Trainer("pull", Pull(n_batches=0), plan()).run()


class Interrupted(Pull):
    """Ends with an error in its n-th step."""

    def __init__(self, figures: Sequence[float | None], n_batches: int, at: int) -> None:
        super().__init__(figures, n_batches)
        self.at = at

    def loss(self, batch: float, rng: np.random.Generator) -> torch.Tensor:
        if self.at == 0:
            raise StoppedError
        self.at -= 1
        return super().loss(batch, rng)


@pytest.mark.parametrize("averaging", [0.0, 1.5])
@pytest.mark.parametrize("at", [1, 2, 4, 5, 7, 11])
def test_stopped_within_an_epoch_it_comes_to_the_same(
    tmp_path: Path, at: int, averaging: float
) -> None:
    figures = [0.1, 0.3, 0.2, 0.25]
    phases = (Phase("first", 2), Phase("second", 2))
    how = plan(phases, averaging=averaging, save_every_s=1e-9)
    whole = Pull(figures, n_batches=3)
    wanted = Trainer("pull", whole, how).run()
    with pytest.raises(StoppedError):
        Trainer("pull", Interrupted(figures, 3, at), how, tmp_path / "one").run()
    resumed = Pull(figures, n_batches=3)
    resumed.validated = at // 3
    steps = CountedSteps(resumed)
    found = Trainer("pull", steps, how, tmp_path / "one").run()
    assert steps.n == 12 - at
    assert [(e.number, e.loss, e.figure, e.phase) for e in found.epochs] == [
        (e.number, e.loss, e.figure, e.phase) for e in wanted.epochs
    ]
    assert weight(resumed) == weight(whole)


class CountedSteps:
    """A task that counts its steps."""

    def __init__(self, task: Pull) -> None:
        self.n = 0
        self.module, self.begin, self.batches = task.module, task.begin, task.batches
        self.validate, self._loss = task.validate, task.loss

    def loss(self, batch: float, rng: np.random.Generator) -> torch.Tensor:
        self.n += 1
        return self._loss(batch, rng)


def test_without_seconds_to_save_after_there_is_a_checkpoint_after_epochs_only(
    tmp_path: Path,
) -> None:
    with pytest.raises(StoppedError):
        Trainer("pull", Interrupted([], 3, at=2), plan(), tmp_path / "one").run()
    assert not (tmp_path / "one").exists()


def test_progress_ends_with_the_figure_of_the_last_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Trainer("training", Pull([0.1, 0.2, 0.3]), plan([Phase("only", 3)])).run()
    last = capsys.readouterr().err.splitlines()[-1]
    assert "epoch 3, loss" in last
    assert "NDCG@10 0.3000 (best 0.3000, epoch 3)" in last


def test_within_an_epoch_progress_says_which_one_a_figure_is_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offline.progress.LOG_INTERVAL_S", 0.0)
    Trainer("training", Pull([0.1, 0.2]), plan([Phase("only", 2)])).run()
    notes = capsys.readouterr().err
    assert "NDCG@10 0.1000 after epoch 1 (best 0.1000, epoch 1)" in notes
