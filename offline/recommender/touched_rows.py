"""A step over a few rows of the item table, for catalogues whose table is too large for a step.

A step's items are known before it begins: those of its histories, and the negatives, drawn once for
all positions. They are numbered anew, in order, and the step's table holds their rows alone, so
that network and losses are the same as over the whole table. The ids' gradient is sparse, and the
optimizer (`offline.training.lazy_adam`) changes no other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from offline.data.histories import Items
from offline.recommender.config import TrainingConfig
from offline.recommender.criterion import Criterion, Indices, Negatives
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.negatives import IndependentSampler


class TouchedCriterion(Criterion):
    """The training's loss over a step's rows, whose negatives are drawn before the step.

    Args:
        counts: training interactions of each item, int64 [N+1].
        config: names the loss; with as many negatives as items, or more, a step's rows are those of
            the whole catalogue.
    """

    def __init__(self, counts: Indices, config: TrainingConfig) -> None:
        super().__init__(counts, config, IndependentSampler)
        self._drawn = Negatives(self.trained)

    def draw(self, rng: np.random.Generator) -> Indices:
        """Draw a step's negatives; their item_indices."""
        self._drawn = super()._draw(self.trained[:0], rng)
        if self.config.loss == "softmax" and self._drawn.logs is None:
            # All of the catalogue, each with certainty.
            self._drawn = Negatives(self.trained, np.zeros(len(self.trained), np.float32))
        return self._drawn.items

    def number(self, rows: Indices) -> None:
        """Have the negatives be positions in `rows`, as the targets will be."""
        self._drawn = Negatives(rows.searchsorted(self._drawn.items), self._drawn.logs)

    def _draw(self, targets: Indices, rng: np.random.Generator) -> Negatives:  # noqa: ARG002
        return self._drawn


class TouchedRows:
    """Reduces an item table to the rows that a step reads.

    Args:
        encoder: of the items.
        criterion: of the loss, which says what the negatives are.
    """

    def __init__(self, encoder: ItemEncoder, criterion: TouchedCriterion) -> None:
        self._encoder, self._criterion = encoder, criterion

    @contextmanager
    def of(self, windows: Sequence[Items], rng: np.random.Generator) -> Iterator[list[Items]]:
        """Within the context the table has a step's rows; yields its windows, numbered anew.

        Args:
            windows: of item_indices; negated ones stay so.
            rng: draws the negatives.
        """
        drawn = self._criterion.draw(rng)
        rows = np.unique(np.concatenate([[0], *map(np.abs, windows), drawn])).astype(np.int64)
        self._criterion.number(rows)
        device = self._encoder.ids.device
        with self._encoder.only(torch.from_numpy(rows).to(device)):
            yield [_renumbered(window, rows) for window in windows]


def _renumbered(window: Items, rows: Indices) -> Items:
    return (np.sign(window) * rows.searchsorted(np.abs(window))).astype(np.int32)
