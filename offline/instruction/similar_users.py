"""The most similar other user, by the cosine of user vectors (Llama4Rec 4.3.1, equation 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import faiss
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Users = npt.NDArray[np.int64]

NOBODY = -1
_BATCH = 1_024


class SimilarUsers:
    """An exact index of users.

    Args:
        vectors: float32 [U, D], of each user, by a recommender; a row of zeros is of nobody.
    """

    def __init__(self, vectors: Vectors) -> None:
        unit = unit_rows(vectors)
        self._users = np.flatnonzero(unit.any(axis=1))
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(unit[self._users])

    def nearest(
        self,
        vectors: Vectors,
        own: Sequence[int] | Users,
        answered: Callable[[int], None] = lambda _: None,
    ) -> Users:
        """The user with the highest cosine to each vector, int64 [B].

        Args:
            vectors: float32 [B, D].
            own: row of the user that each vector is of, who is never the answer; NOBODY if the
                vector is of none of them.
            answered: called after each batch with its number of vectors, to show progress.

        Returns:
            rows; NOBODY where no other user's cosine is above zero.
        """
        own, unit = np.asarray(own, dtype=np.int64), unit_rows(vectors)
        found = np.full(len(unit), NOBODY, dtype=np.int64)
        n_asked = min(2, self._index.ntotal)  # the nearest may be the user itself
        if not n_asked or not len(unit):
            return found
        for start in range(0, len(unit), _BATCH):
            rows = slice(start, start + _BATCH)
            cosines, places = self._index.search(unit[rows], n_asked)
            users = self._users[places]
            is_other = (users != own[rows, None]) & (cosines > 0)
            first = users[np.arange(len(users)), is_other.argmax(axis=1)]
            found[rows] = np.where(is_other.any(axis=1), first, NOBODY)
            answered(len(users))
        return found


def unit_rows(vectors: Vectors) -> Vectors:
    """Vectors float32 [B, D] scaled to length 1; rows of zeros stay so."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
