"""A training's start from an earlier model of the same shape, in place of random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.id_map import IdMap

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class WarmStart:
    """The weights to begin with.

    Attributes:
        network: parameters of the network without its items, by name.
        item_rows: float32 [N+1, D], the item table to begin with; row 0 zeros.
        n_known: how many of the N items the earlier model had.
    """

    network: Mapping[str, npt.NDArray[Any]]
    item_rows: Vectors
    n_known: int

    def parts(self) -> list[object]:
        """All that decides a result, for a fingerprint."""
        parts: list[object] = [self.item_rows]
        for name in sorted(self.network):
            parts += [name, self.network[name]]
        return parts


def carried_rows(
    table: Vectors,
    projection: Vectors,
    known_ids: IdMap,
    item_ids: IdMap,
    knowledge: Vectors | None,
) -> tuple[Vectors, int]:
    """The rows of an earlier item table for another catalogue, and how many of its items it had.

    An item that the earlier model lacked gets the row at which a service would place it as a fresh
    item: its knowledge vector projected, or without texts the mean row.

    Args:
        table: of the earlier model, float32 [M+1, D].
        projection: of the earlier model's fresh items, float32 [K+1, D].
        known_ids: M items of the earlier model.
        item_ids: N items of the other catalogue.
        knowledge: float32 [N+1, K] of the other catalogue; None for ids alone.
    """
    old = np.array([known_ids.index_of(one) or 0 for one in item_ids.ids], dtype=np.int64)
    rows = np.empty((len(old) + 1, table.shape[1]), dtype=np.float32)
    rows[1:] = table[old]
    is_new = np.append(False, old == 0)
    rows[is_new] = projection[-1]
    if knowledge is not None and knowledge.shape[1] == len(projection) - 1:
        rows[is_new] += knowledge[is_new] @ projection[:-1]
    elif len(projection) > 1:
        # The intercept of a projection of other vectors says nothing by itself.
        rows[is_new] = table[1:].mean(axis=0)
    rows[0] = 0.0
    return rows, int((old > 0).sum())
