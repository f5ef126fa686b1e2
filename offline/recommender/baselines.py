"""Popularity and last-item Markov counts: the baselines of every table."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from model_store.files import save_array
from offline.data.histories import Histories
from offline.metrics import Scores
from offline.recommender.recommender import TrainingData

Number = TypeVar("Number", bound=np.generic)

_COUNTS = "popularity.npy"
_FROM, _TO, _TIMES = "markov_from.npy", "markov_to.npy", "markov_times.npy"


class Popularity:
    """The same list for everyone: items by training interactions."""

    name: ClassVar[str] = "popularity"

    def __init__(self) -> None:
        self.counts: Scores = np.zeros(1, np.float32)

    def fit(self, data: TrainingData, folder: Path | None = None) -> Self:  # noqa: ARG002
        """Count; there is nothing to resume."""
        self.counts = data.counts().astype(np.float32)
        return self

    def score(self, histories: Histories) -> Scores:
        """Training interactions of each item, float32 [B, N+1]."""
        return np.tile(self.counts, (len(histories), 1))

    def save(self, folder: Path) -> None:
        """Write the counts."""
        save_array(folder / _COUNTS, self.counts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        model = cls()
        model.counts = _read(folder / _COUNTS, np.float32)
        return model


class Markov:
    """Items that most often came directly after the last item; popularity breaks ties."""

    name: ClassVar[str] = "markov"

    def __init__(self) -> None:
        self.popularity = Popularity()
        # Transitions sorted by their first item, as parallel arrays.
        self._from = self._to = np.zeros(0, np.int64)
        self._times = np.zeros(0, np.float32)

    def fit(self, data: TrainingData, folder: Path | None = None) -> Self:  # noqa: ARG002
        """Count transitions between neighbours; there is nothing to resume."""
        self.popularity.fit(data)
        steps = [
            sequence[:-1].astype(np.int64) * (data.n_items + 1) + sequence[1:]
            for sequence in data.sequences
        ]
        pairs, times = np.unique(
            np.concatenate(steps) if steps else np.zeros(0, np.int64), return_counts=True
        )
        self._from, self._to = np.divmod(pairs, data.n_items + 1)
        self._times = times.astype(np.float32)
        return self

    def score(self, histories: Histories) -> Scores:
        """Transition counts from the last item, plus popularity scaled below 1: [B, N+1]."""
        counts = self.popularity.counts
        scores = np.tile(counts / (1.0 + counts.max()), (len(histories), 1)).astype(np.float32)
        for row, history in zip(scores, histories, strict=True):
            if len(history):
                first, end = np.searchsorted(self._from, [history[-1], history[-1] + 1])
                row[self._to[first:end]] += self._times[first:end]
        return scores

    def save(self, folder: Path) -> None:
        """Write popularity and transitions."""
        self.popularity.save(folder)
        save_array(folder / _FROM, self._from)
        save_array(folder / _TO, self._to)
        save_array(folder / _TIMES, self._times)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        model = cls()
        model.popularity = Popularity.load(folder)
        model._from = _read(folder / _FROM, np.int64)
        model._to = _read(folder / _TO, np.int64)
        model._times = _read(folder / _TIMES, np.float32)
        return model


def _read(path: Path, dtype: type[Number]) -> npt.NDArray[Number]:
    try:
        array: npt.NDArray[Number] = np.load(path, allow_pickle=False).astype(dtype)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a saved array ({error})") from error
    return array
