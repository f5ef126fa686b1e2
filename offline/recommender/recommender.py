"""The protocols of models: one evaluation, one export and one set of laws fit them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from model_store.errors import LongtailError
from model_store.id_map import IdMap
from offline.data.histories import Histories, Items
from offline.data.insertions import Insertions
from offline.data.interactions import Interactions
from offline.data.preferences import Preferences
from offline.data.split import Cases, Split
from offline.metrics import Score, Scores
from offline.recommender.warm_start import WarmStart
from offline.training.pace import Pace
from offline.training.record import TrainingRecord

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingData:
    """The data that a recommender learns from.

    Attributes:
        sequences: training items of each user that trains, oldest → newest.
        n_items: N, the whole catalogue, items without an interaction counted.
        validation: cases by which the epoch is chosen; None: train for all epochs.
        knowledge: knowledge_vectors float32 [N+1, K], row 0 and rows of items without knowledge
            zeros; None for ids alone.
        insertions: items to read between those of the sequences; None: nothing.
        preferences: pairs of items for a direct model's loss; None: none.
        weights: of the sequences' items in the loss, float32 each; None: all are alike.
        start: weights to begin with, for this catalogue; None: random ones. Direct models read
            none.
    """

    sequences: Histories
    n_items: int
    validation: Cases | None = None
    knowledge: Vectors | None = None
    insertions: Insertions | None = None
    preferences: Preferences | None = None
    weights: Sequence[Vectors] | None = None
    start: WarmStart | None = None

    @classmethod
    def of_split(cls, split: Split, n_items: int, knowledge: Vectors | None = None) -> Self:
        """The training part, with validation cases for choices; the test part is left out."""
        users = range(len(split.train_offsets) - 1)
        sequences = [split.train_history(user) for user in users]
        weights = _rows_of(split.train_weights, split.train_offsets)
        return cls(sequences, n_items, split.validation, knowledge, weights=weights)

    @classmethod
    def of_everything(cls, interactions: Interactions, knowledge: Vectors | None = None) -> Self:
        """All interactions, held-out ones too, for a refit after all choices."""
        sequences = [interactions.history(user) for user in range(interactions.n_users)]
        weights = _rows_of(interactions.weights, interactions.offsets)
        return cls(sequences, interactions.n_items, None, knowledge, weights=weights)

    def of_share(self, share: float, seed: int) -> Self:
        """The same with the sequences of some users only, and all validation cases.

        Args:
            share: of the users, rounded up. With one seed those of a smaller share are among
                those of a larger one.
            seed: draws them.
        """
        if share >= 1.0:
            return self
        # Epochs draw from (seed, number), which begin with 1.
        order = np.random.default_rng([seed, 0]).permutation(len(self.sequences))
        drawn = np.sort(order[: math.ceil(share * len(order))])
        insertions = self.insertions.of_users(drawn) if self.insertions else None
        return replace(self.of_users(drawn), insertions=insertions)

    def of_users(self, users: npt.NDArray[np.intp]) -> Self:
        """The same with the sequences of some users, in the given order, and all insertions.

        Preferences are left out: they are of rows that are others' then.
        """
        return replace(
            self,
            sequences=[self.sequences[user] for user in users],
            preferences=None,
            weights=None if self.weights is None else [self.weights[user] for user in users],
        )

    def read_sequences(self) -> list[Items]:
        """The sequences as a network reads them: with inserted items, which are negated.

        Negated, since they are no targets; everything else counts `sequences` alone.
        """
        if self.insertions is None:
            return [np.asarray(sequence) for sequence in self.sequences]
        return self.insertions.into(self.sequences)

    def read_weights(self) -> list[Vectors] | None:
        """Weights of `read_sequences`, with a mean of 1 over what is to be predicted.

        Inserted items have 0. None where all are alike, as in training without weights.
        """
        if self.weights is None:
            return None
        predicted = np.concatenate([weights[1:] for weights in self.weights])
        if not len(predicted) or (predicted == predicted[0]).all():
            return None
        mean = np.float32(predicted.mean(dtype=np.float64))
        rows = [np.asarray(weights / mean, dtype=np.float32) for weights in self.weights]
        return rows if self.insertions is None else self.insertions.into_weights(rows)

    def counts(self) -> npt.NDArray[np.int64]:
        """Training interactions of each item, int64 [N+1]; 0 at padding."""
        items = [np.asarray(sequence) for sequence in self.sequences]
        flat = np.concatenate(items) if items else np.zeros(0, dtype=np.int32)
        return np.bincount(flat, minlength=self.n_items + 1).astype(np.int64)


def _rows_of(weights: Vectors | None, offsets: npt.NDArray[np.int64]) -> list[Vectors] | None:
    if weights is None:
        return None
    return [weights[start:end] for start, end in itertools.pairwise(offsets.tolist())]


class Baseline(Protocol):
    """A model of the next item, as far as it is measured."""

    @property
    def name(self) -> str:
        """Names its figures."""
        ...

    def fit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """Learn, and return itself; the same data and seed give the same model.

        With `folder` a long training leaves checkpoints there, and resumes from those it finds.

        Raises:
            InputError: there is nothing to learn from, or the loss diverged.
            ConfigError: the choices can't be trained with here.
        """
        ...

    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1], higher is likelier next; column 0 (padding) has no meaning.

        Seen items are scored like any other: `offline.metrics` and `rank_unseen` leave them out.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted model into a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the folder doesn't hold such a model.
        """
        ...


class Recommender(Baseline, Protocol):
    """A model that can be served, as build, benchmark and export see it.

    Attributes:
        kind: of the bundle that it is exported to.
        record: of the training.
    """

    kind: ClassVar[str]
    record: TrainingRecord

    @property
    def item_table(self) -> Vectors:
        """float32 [N+1, D]; scores are inner products of its rows with user vectors."""
        ...

    @property
    def n_items(self) -> int:
        """N, once it is fitted."""
        ...

    @property
    def max_length(self) -> int:
        """Number of last history items that are read."""
        ...

    def refit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """A new model fitted to `data` for as many epochs as proved best for this one.

        `data` is everything, held-out interactions included; its `validation` is not used.
        """
        ...

    def warm_start(
        self, known_ids: IdMap, item_ids: IdMap, knowledge: Vectors | None
    ) -> WarmStart | None:
        """This model as the start of a training on another catalogue; None: it can't be one.

        Args:
            known_ids: the N items of this model.
            item_ids: those of the other catalogue.
            knowledge: vectors of the other catalogue, as `TrainingData.knowledge`.
        """
        ...

    def measure_pace(self, data: TrainingData) -> Pace:
        """How long an epoch of `fit` will take here, validation not counted."""
        ...

    def user_vectors(self, histories: Histories) -> Vectors:
        """A vector for each history, float32 [B, D]; see `Exported.item_table`."""
        ...

    def export(self, folder: Path, histories: Histories) -> Exported:
        """Write the files that serve the model into a folder.

        Args:
            folder: gets model.onnx, item_table.npy and fresh_projection.npy.
            histories: real ones, none empty or longer than `max_length`, to check the export.

        Raises:
            ParityError: the serving path differs from the trained one.
        """
        ...


class Exported(Protocol):
    """A model's files, run as the service runs them."""

    @property
    def item_table(self) -> Vectors:
        """float32 [N+1, D]; scores are inner products of its rows with user vectors."""
        ...

    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1] of histories, read in one batch."""
        ...


class ParityError(LongtailError):
    """The exported model and the trained one disagree."""


PARITY_TOLERANCE = 1e-4
"""Of a score."""


def rank_unseen(
    score: Score, histories: Histories, k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k best items that are not in the history, best first.

    Returns:
        item_indices int32 [B, k] and scores float32 [B, k]; where fewer than k items are left,
        index 0 and score -inf. Equal scores rank by item_index.
    """
    scores = np.array(score(histories), dtype=np.float32)
    scores[:, 0] = -np.inf
    for row, history in zip(scores, histories, strict=True):
        row[history] = -np.inf
    k = min(k, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(np.isneginf(best), 0, order).astype(np.int32), best
