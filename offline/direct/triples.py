"""Triples (u, i, j) of a user, an item that the user prefers and another (BPR section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.data.preferences import Preferences
from offline.direct.graph import Graph

Int64 = npt.NDArray[np.int64]
# Of draws again; for users who have nearly all items, those left are listed then.
_ROUNDS = 5


@dataclass(frozen=True)
class Triples:
    """Users, items they prefer, and negatives, one or several for each: int64 [B], [B], [B, M]."""

    users: Int64
    items: Int64
    negatives: Int64

    def __len__(self) -> int:
        """B."""
        return len(self.users)

    def rows(self, chosen: slice | Int64) -> Triples:
        """Some of them."""
        return Triples(self.users[chosen], self.items[chosen], self.negatives[chosen])

    def mixed_with(self, more: Triples, rng: np.random.Generator) -> Triples:
        """Both, in random order."""
        both = Triples(
            np.concatenate([self.users, more.users]),
            np.concatenate([self.items, more.items]),
            np.concatenate([self.negatives, more.negatives]),
        )
        return both.rows(rng.permutation(len(both)))


class TripleSampler:
    """Draws triples: every edge of a graph once in an epoch, its negatives uniformly.

    Triples that were not observed (Llama4Rec equation 3) are in every epoch once, as they are.

    Args:
        graph: users who have every item have no negative, and are left out.
        batch_size: triples in a batch, B.
        n_negatives: of each triple, M.
        preferences: triples besides the observed ones; None: none.
    """

    def __init__(
        self,
        graph: Graph,
        batch_size: int,
        n_negatives: int = 1,
        preferences: Preferences | None = None,
    ) -> None:
        self._graph, self._batch_size, self._n_negatives = graph, batch_size, n_negatives
        self._added = _as_triples(preferences, n_negatives)
        self._edges = graph.users * (graph.n_items + 1) + graph.items  # sorted
        is_full = np.bincount(graph.users, minlength=graph.n_users) >= graph.n_items
        self._rows = np.flatnonzero(~is_full[graph.users])

    def __len__(self) -> int:
        """Triples in an epoch."""
        return len(self._rows) + len(self._added)

    def batches(self, rng: np.random.Generator) -> list[Triples]:
        """An epoch's triples, shuffled."""
        order = rng.permutation(self._rows)
        users, items = self._graph.users[order], self._graph.items[order]
        everything = Triples(users, items, self._draw(users, rng))
        if len(self._added):
            everything = everything.mixed_with(self._added, rng)
        starts = range(0, len(everything), self._batch_size)
        return [everything.rows(slice(start, start + self._batch_size)) for start in starts]

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


def _as_triples(preferences: Preferences | None, n_negatives: int) -> Triples:
    """Triples whose negatives are all the same item."""
    if preferences is None:
        none = np.zeros(0, np.int64)
        return Triples(none, none, np.zeros((0, n_negatives), np.int64))
    others = preferences.others.astype(np.int64)[:, None]
    return Triples(
        preferences.users.astype(np.int64),
        preferences.preferred.astype(np.int64),
        np.repeat(others, n_negatives, axis=1),
    )
