"""What a sampler hands to a learner, and the protocols of both (SeRALM, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SampledText:
    """A text s_i that a language model wrote about an item. Equal only to itself.

    Attributes:
        item: item_index.
        text: as it is encoded: the written knowledge, with the item's own text if the recipe
            encodes both.
        tokens: of the answer without its given beginning, int32 [T]; with the end token where it
            ended before the limit.
        log_sampled: log p of each token under the model that sampled it at temperature 1,
            float32 [T].
        log_original: the same under the model before alignment, float32 [T].
    """

    item: int
    text: str
    tokens: Int32
    log_sampled: Float32
    log_original: Float32


@dataclass(frozen=True, eq=False)
class Experience:
    """An example (x, y) with one text s for each of the items concerned.

    Attributes:
        history: x, int32 [L], oldest → newest.
        target: y, item_index.
        texts: s; of items in the history.
        log_with: log p(y|x, s) of the recommender that is trained.
        log_without: log p(y|x) of the frozen recommender over ids.
        group: experiences with the same number are compared with each other: the texts of one
            example, or in a pool those of one item with all its examples.
        snapshot: step of the weights that made it; 0: before the first update.
    """

    history: Int32
    target: int
    texts: tuple[SampledText, ...]
    log_with: float
    log_without: float
    group: int
    snapshot: int


class Sampler(Protocol):
    """Makes experiences with a language model and recommenders of its own."""

    def draw(self, rng: np.random.Generator) -> list[Experience]:
        """The experiences of one update."""
        ...

    def load(self, snapshot: Path) -> None:
        """Use the weights in a folder that `Learner.save` wrote.

        Raises:
            InputError: the folder holds none, or those of another model.
        """
        ...


class Learner(Protocol):
    """Updates both models."""

    def update(self, experiences: Sequence[Experience]) -> Mapping[str, float]:
        """One update of θ_r and θ_l (equations 8 and 9); returns figures to watch by name."""
        ...

    def save(self, snapshot: Path) -> None:
        """Write θ_r and θ_l as safetensors into a folder, for a sampler; makes the folder."""
        ...


class Source(Protocol):
    """Where the training loop takes experiences from: a sampler, a pool, or a queue."""

    def take(self, step: int) -> Sequence[Experience]:
        """The experiences of a step, counted from 1; waits for them if it must."""
        ...

    def updated(self, step: int, learner: Learner) -> None:
        """Told after each update and its checkpoint; the time to leave a snapshot."""
        ...

    def figures(self) -> Mapping[str, float]:
        """Figures to watch of the steps so far, by name; may be empty."""
        ...

    def close(self) -> None:
        """End what runs in the background; the loop calls it however it ends."""
        ...


class TextPool(Protocol):
    """Several texts of each item, sampled once from the LLM before alignment."""

    @property
    def items(self) -> Int32:
        """item_indices that have texts, int32 [P], ascending."""
        ...

    def texts(self, item: int) -> Sequence[SampledText]:
        """The texts of an item, always the same objects."""
        ...
