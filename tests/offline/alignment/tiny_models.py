"""A sampler and a learner whose weights are a count of updates; they load no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_store.errors import InputError
from offline.alignment.experience import Experience, SampledText

SEED = 5
_WEIGHTS = "weights.json"


def drawn_target(number: int) -> int:
    """The target of the experiences of a batch, as the sampler draws it."""
    return int(np.random.default_rng([SEED, number]).integers(2**31))


class TinySampler:
    """Draws two experiences that share a text."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.step = -1

    def draw(self, rng: np.random.Generator) -> list[Experience]:
        time.sleep(self.delay_s)
        target = int(rng.integers(2**31))
        text = SampledText(3, "A film.", *(np.zeros(2, t) for t in (np.int32, "f4", "f4")))
        one = Experience(np.array([3], np.int32), target, (text,), -1.0, -2.0, 0, self.step)
        return [one, Experience(one.history, target, (text,), -1.0, -2.0, 1, self.step)]

    def load(self, snapshot: Path) -> None:
        try:
            self.step = json.loads((snapshot / _WEIGHTS).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{snapshot}: no snapshot ({error})") from error


class TinyLearner:
    def __init__(self, n_steps: int = 0, delay_s: float = 0.0) -> None:
        self.n_steps, self.delay_s = n_steps, delay_s

    def update(self, experiences: Sequence[Experience]) -> Mapping[str, float]:
        time.sleep(self.delay_s)
        self.n_steps += 1
        return {"size": len(experiences)}

    def save(self, snapshot: Path) -> None:
        snapshot.mkdir(exist_ok=True)
        (snapshot / _WEIGHTS).write_text(json.dumps(self.n_steps))
