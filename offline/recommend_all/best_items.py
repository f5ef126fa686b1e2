"""The k best items of many user vectors: a matrix product in blocks, and few comparisons with it.

A block of users meets the item table block by block. Each user has a threshold, the k-th best score
so far; only scores that reach it are looked at again. In a table without order a user meets k of
them in the second block, k/2 in the third and so on, so almost all of the time is the product's.

A product sums in another order near its edges, so that equal rows can differ in their last bits.
Thresholds are therefore lower by a margin, and what is left is scored once more, each row alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Items = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

EXCLUDED = np.float32(-np.inf)
_LOWEST = np.finfo(np.float32).min

_USERS_AT_ONCE = 256
_ITEMS_AT_ONCE = 4_096
# So many scores that reach the thresholds, for each of the k best, are collected before these rise.
_MAX_COLLECTED = 2
# Of more items that tie with the k-th within the margin, those with the lowest item_index are kept.
_MAX_TIED = 64


@dataclass(frozen=True)
class Pairs:
    """Items of users.

    Attributes:
        users: int64 [P], rows of the user vectors.
        items: int32 [P], item_indices.
    """

    users: Ints
    items: Items

    @classmethod
    def of(cls, rows: list[Items]) -> Pairs:
        """Those of each user, row by row."""
        lengths = [len(row) for row in rows]
        items = np.concatenate([*rows, np.zeros(0, np.int32)]).astype(np.int32)
        return cls(np.repeat(np.arange(len(rows)), lengths), items)

    def of_users(self, start: int, stop: int) -> Pairs:
        """Those of some users, counted from the first of them, in order of the items.

        Here they have to be in order of the users.
        """
        first, last = self.users.searchsorted([start, stop])
        order = self.items[first:last].argsort(kind="stable")
        return Pairs(self.users[first:last][order] - start, self.items[first:last][order])


class BestItems:
    """Finds the best items of a table; ties go to the lower item_index.

    Args:
        table: float32 [N+1, D]; row 0 is padding's, and never found.
        k: at least 1.
    """

    def __init__(self, table: Vectors, k: int) -> None:
        self._table, self._k = np.asarray(table), k
        self._width = max(_ITEMS_AT_ONCE, 4 * k)
        self._scores = np.empty(_USERS_AT_ONCE * self._width, dtype=np.float32)
        self._reached = np.empty(_USERS_AT_ONCE * self._width, dtype=np.bool_)
        longest = float(np.einsum("nd,nd->n", self._table, self._table).max())
        # Twice the bound on the rounding error of a sum of D products, for vectors of length 1.
        rounding = self._table.shape[1] * float(np.finfo(np.float32).eps)
        self._margin = np.float32(rounding * longest**0.5)

    def find(self, users: Vectors, excluded: Pairs) -> tuple[Items, Vectors]:
        """The best items of each user, best first, and their scores.

        A score that is NaN is no item's.

        Args:
            users: float32 [B, D].
            excluded: items that are not for these users, in order of the users.

        Returns:
            item_indices int32 [B, k] and scores float32 [B, k]; 0 and -inf where there are no more.
        """
        items = np.zeros((len(users), self._k), dtype=np.int32)
        scores = np.full((len(users), self._k), EXCLUDED)
        for start in range(0, len(users), _USERS_AT_ONCE):
            some = users[start : start + _USERS_AT_ONCE]
            found = self._find(some, excluded.of_users(start, start + len(some)))
            exact = np.einsum("pd,pd->p", self._table[found.items], some[found.users])
            order = np.lexsort((found.items, -exact, found.users))
            rows, ranks = found.users[order], _ranks(found.users[order], len(some))
            best = ranks < self._k
            items[start + rows[best], ranks[best]] = found.items[order][best]
            scores[start + rows[best], ranks[best]] = exact[order][best]
        return items, scores

    def _find(self, users: Vectors, excluded: Pairs) -> Pairs:
        """The best items of some users, and those that could be among them, in any order."""
        lengths = np.sqrt(np.einsum("bd,bd->b", users, users))
        margins = np.nan_to_num(lengths * self._margin, posinf=0.0)
        found = _Candidates(self._k, margins)
        for number, (first, scores) in enumerate(self._blocks(users, excluded)):
            if number == 0:
                found.begin(scores)
            found.collect(scores, first, self._reached[: scores.size].reshape(scores.shape))
        found.merge()
        return Pairs(found.users, found.items)

    def _blocks(self, users: Vectors, excluded: Pairs) -> Iterator[tuple[int, Vectors]]:
        """The first item_index of each block of items, and the block's scores, float32 [B, M].

        These are valid until the next ones are made.
        """
        starts = range(1, len(self._table), self._width)
        places = excluded.items.searchsorted([*starts, len(self._table)]).tolist()
        for first, begin, end in zip(starts, places, places[1:], strict=False):
            rows = self._table[first : first + self._width]
            shape = len(users), len(rows)
            scores = self._scores[: shape[0] * shape[1]].reshape(shape)
            np.matmul(users, rows.T, out=scores)
            scores[excluded.users[begin:end], excluded.items[begin:end] - first] = EXCLUDED
            yield first, scores


class _Candidates:
    """Items of a block of users whose scores reach the thresholds.

    Args:
        k: best ones that are wanted.
        margins: float32 [B], of each user; scores that differ by less may be equal.

    Attributes:
        users: int64 [P], rows, in order.
        items: int32 [P].
        scores: float32 [P].
        thresholds: float32 [B]: the k-th best score so far, less the margin.
    """

    def __init__(self, k: int, margins: Vectors) -> None:
        self._k, self._margins = k, margins
        self.thresholds = np.full(len(margins), _LOWEST)
        self.users = np.zeros(0, np.int64)
        self.items = np.zeros(0, np.int32)
        self.scores = np.zeros(0, np.float32)
        self._collected: list[tuple[Ints, Items, Vectors]] = []
        self._n_collected = 0

    def begin(self, scores: Vectors) -> None:
        """Take thresholds from the first scores; without any, all of these would be collected."""
        if (place := scores.shape[1] - self._k) >= 0:
            self._raise(np.partition(scores, place, axis=1)[:, place])

    def collect(self, scores: Vectors, first: int, reached: npt.NDArray[np.bool_]) -> None:
        """Take the scores that reach the thresholds.

        Args:
            scores: float32 [B, M], of M items.
            first: item_index of the first of them.
            reached: [B, M], contiguous, overwritten.
        """
        np.greater_equal(scores, self.thresholds[:, None], out=reached)
        # `nonzero` of a matrix takes ten times as long as that of a flat array.
        places = reached.ravel().nonzero()[0]
        rows, columns = np.divmod(places, scores.shape[1])
        self._collected.append((rows, (columns + first).astype(np.int32), scores.ravel()[places]))
        self._n_collected += len(rows)
        if self._n_collected > _MAX_COLLECTED * self._k * len(self.thresholds):
            self.merge()

    def merge(self) -> None:
        """Raise the thresholds by what was collected, and drop what doesn't reach them."""
        parts = zip((self.users, self.items, self.scores), *self._collected, strict=True)
        users, items, scores = (np.concatenate(part) for part in parts)
        self._collected, self._n_collected = [], 0
        order = np.lexsort((-scores, users))
        users, items, scores = users[order], items[order], scores[order]
        ranks = _ranks(users, len(self.thresholds))
        is_kth = ranks == self._k - 1
        kth = np.full(len(self.thresholds), _LOWEST)
        kth[users[is_kth]] = scores[is_kth]
        self._raise(kth)
        kept = scores >= self.thresholds[users]
        if (ranks[kept] >= self._k + _MAX_TIED).any():
            kept &= self._are_first(users, items, scores, kth)
        self.users, self.items, self.scores = users[kept], items[kept], scores[kept]

    def _raise(self, kth: Vectors) -> None:
        # A k-th best score of -inf, or of NaN, is none: there are fewer than k.
        kth = np.where(kth > _LOWEST, kth, _LOWEST)
        self.thresholds = np.maximum(self.thresholds, np.maximum(kth - self._margins, _LOWEST))

    def _are_first(
        self, users: Ints, items: Items, scores: Vectors, kth: Vectors
    ) -> npt.NDArray[np.bool_]:
        """Whether each is among the first, if all within the margin of the k-th tie with it."""
        tied = np.minimum(scores, (kth + self._margins)[users])
        order = np.lexsort((items, -tied, users))
        first = np.empty(len(order), dtype=np.bool_)
        first[order] = _ranks(users[order], len(kth)) < self._k + _MAX_TIED
        return first


def _ranks(users: Ints, n_users: int) -> Ints:
    """The place of each among its user's, from 0; users in order."""
    return np.arange(len(users)) - users.searchsorted(np.arange(n_users))[users]
