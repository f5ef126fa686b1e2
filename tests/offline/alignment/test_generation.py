"""The generator's loop, in one process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model_store.errors import InputError
from offline.alignment import generation
from offline.alignment.experience import Experience
from offline.alignment.generation import Generation
from offline.alignment.queue import ExperienceQueue
from offline.alignment.snapshots import Snapshots
from tests.offline.alignment.tiny_models import SEED, TinyLearner, TinySampler, drawn_target


class World:
    """A queue of two, snapshots, and a generation between them."""

    def __init__(self, folder: Path, sampler: TinySampler) -> None:
        self.queue, self.snapshots = ExperienceQueue(folder / "q", 2), Snapshots(folder / "s")
        self.queue.begin(0)
        self.snapshots.begin()
        self.sampler = sampler
        self.generation = self.start()

    def start(self) -> Generation:
        return Generation(self.sampler, self.queue, self.snapshots, seed=SEED, last=5)

    def fill(self) -> int:
        n = 0
        while self.generation.step():
            n += 1
        return n


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, TinySampler())


def test_it_waits_for_weights_and_for_room(world: World) -> None:
    assert world.fill() == 0
    world.snapshots.publish(0, TinyLearner(0).save)
    assert world.fill() == 2
    assert world.queue.take(1) is not None
    assert world.fill() == 1
    for number in (2, 3, 4, 5):
        assert world.queue.take(number) is not None
        world.fill()
    assert world.fill() == 0  # the last is made


def test_a_batch_comes_from_its_number_and_the_newest_weights(world: World) -> None:
    world.snapshots.publish(0, TinyLearner(0).save)
    world.fill()
    for number, snapshot in ((1, 0), (2, 0), (3, 1), (4, 2), (5, 3)):
        batch = world.queue.take(number)
        assert batch is not None
        assert {each.target for each in batch.experiences} == {drawn_target(number)}
        assert {each.snapshot for each in batch.experiences} == {snapshot}
        world.snapshots.publish(number, TinyLearner(number).save)
        world.generation = world.start()  # and so it does after a restart
        world.fill()


def test_it_measures_how_long_it_worked_and_waited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 7.0

    def work(draw: Callable[..., list[Experience]], rng: np.random.Generator) -> list[Experience]:
        nonlocal now_s
        now_s += 3.0
        return draw(rng)

    monkeypatch.setattr(generation, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(world.sampler, "draw", partial(work, world.sampler.draw))
    world.generation = world.start()
    world.snapshots.publish(0, TinyLearner(0).save)
    now_s += 1.0
    world.fill()
    now_s += 5.0
    first, second = world.queue.take(1), world.queue.take(2)
    world.fill()
    third = world.queue.take(3)
    assert first
    assert second
    assert third
    assert [each.worked_s for each in (first, second, third)] == [3.0] * 3
    assert [each.waited_s for each in (first, second, third)] == [1.0, 0.0, 5.0]


def test_weights_that_vanish_while_they_are_read_are_replaced_by_newer(world: World) -> None:
    class Slow(TinySampler):
        """Reads the first snapshot so slowly that it is gone."""

        def load(self, snapshot: Path) -> None:
            if snapshot.name.endswith("0"):
                world.snapshots.publish(1, TinyLearner(1).save)
                shutil.rmtree(snapshot)
            super().load(snapshot)

    world.snapshots.publish(0, TinyLearner(0).save)
    world.sampler = Slow()
    world.generation = world.start()
    assert world.fill() == 2
    batch = world.queue.take(2)
    assert batch is not None
    assert batch.experiences[0].snapshot == 1


def test_weights_that_cannot_be_read_are_an_error(world: World) -> None:
    world.snapshots.publish(0, lambda folder: (folder / "weights.json").touch())
    with pytest.raises(InputError, match="no snapshot"):
        world.generation.step()
