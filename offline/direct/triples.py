"""Triples (u, i, j) of a user, an item of the user's and one that isn't (BPR section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.direct.graph import Graph

Int64 = npt.NDArray[np.int64]
# Of draws again; for users who have nearly all items, those left are listed then.
_ROUNDS = 5


@dataclass(frozen=True)
class Triples:
    """Users, their items, and negatives, one or several for each: int64 [B], [B], [B, M]."""

    users: Int64
    items: Int64
    negatives: Int64

    def __len__(self) -> int:
        """B."""
        return len(self.users)


class TripleSampler:
    """Draws triples: every edge of a graph once in an epoch, its negatives uniformly.

    Args:
        graph: users who have every item have no negative, and are left out.
        batch_size: triples in a batch, B.
        n_negatives: of each triple, M.
    """

    def __init__(self, graph: Graph, batch_size: int, n_negatives: int = 1) -> None:
        self._graph, self._batch_size, self._n_negatives = graph, batch_size, n_negatives
        self._edges = graph.users * (graph.n_items + 1) + graph.items  # sorted
        is_full = np.bincount(graph.users, minlength=graph.n_users) >= graph.n_items
        self._rows = np.flatnonzero(~is_full[graph.users])

    def __len__(self) -> int:
        """Triples in an epoch."""
        return len(self._rows)

    def batches(self, rng: np.random.Generator) -> list[Triples]:
        """An epoch's triples, shuffled."""
        order = rng.permutation(self._rows)
        users, items = self._graph.users[order], self._graph.items[order]
        negatives = self._draw(users, rng)
        starts = range(0, len(order), self._batch_size)
        spans = [slice(start, start + self._batch_size) for start in starts]
        return [Triples(users[span], items[span], negatives[span]) for span in spans]

    def _draw(self, users: Int64, rng: np.random.Generator) -> Int64:
        """Items that each user doesn't have, int64 [B, M]."""
        n_items, shape = self._graph.n_items, (len(users), self._n_negatives)
        drawn = rng.integers(1, n_items + 1, shape)
        owners = np.repeat(users[:, None] * (n_items + 1), self._n_negatives, axis=1)
        own = np.nonzero(self._are_edges(owners + drawn))
        for _ in range(_ROUNDS):
            drawn[own] = rng.integers(1, n_items + 1, len(own[0]))
            is_own = self._are_edges(owners[own] + drawn[own])
            own = own[0][is_own], own[1][is_own]
        for row, column in zip(*own, strict=True):
            edges = np.searchsorted(self._edges, owners[row, column] + np.array([0, n_items + 1]))
            items = self._edges[slice(*edges)] - owners[row, column]
            drawn[row, column] = rng.choice(np.setdiff1d(np.arange(1, n_items + 1), items))
        return drawn

    def _are_edges(self, pairs: Int64) -> npt.NDArray[np.bool_]:
        places = np.searchsorted(self._edges, pairs)
        found: npt.NDArray[np.bool_] = self._edges[places.clip(max=len(self._edges) - 1)] == pairs
        return found
