"""Similarity of free text and items: cosine in the centred knowledge space."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import category

import numpy as np

from app.model.arrays import FloatArray
from app.model.inference import TextEncoder

# Items without knowledge come after all others, and can still fill an answer up to k.
NOTHING_KNOWN = np.float32(-1)
# A query nearer to the centre than this has no direction.
MIN_LENGTH = 1e-6


class Knowledge:
    """Knowledge vectors with their encoder.

    Text embeddings share a large common direction (a mean cosine above .8 is usual), which hides
    the differences between items; so the mean vector is removed from both sides. It is never
    subtracted
    from the whole matrix: (v - c) . (q - c) = v . (q - c) - c . (q - c), with lengths kept.

    Args:
        encoder: text → vector of the same space.
        vectors: float32 [N+1, K], unit rows; zero rows for items without knowledge.
    """

    def __init__(self, encoder: TextEncoder, vectors: FloatArray) -> None:
        self.encoder = encoder
        self.vectors = vectors
        self._known = np.any(vectors != 0, axis=1)
        n_known = max(1, int(self._known.sum()))
        self._center = (vectors.sum(axis=0) / n_known).astype(np.float32)
        squares = np.einsum("nk,nk->n", vectors, vectors)
        products = vectors @ self._center
        centred = squares - 2 * products + self._center @ self._center
        self._lengths = np.sqrt(np.maximum(centred, 1e-12)).astype(np.float32)

    def with_vectors(self, vectors: FloatArray) -> Knowledge:
        """The same encoder over more items."""
        return Knowledge(self.encoder, vectors)

    def similarities(self, texts: Sequence[str]) -> list[FloatArray | None]:
        """Similarity of all items to each text, [N+1], each in -1..1.

        None for a text that is blank or has no word that the encoder knows.
        """
        found: list[FloatArray | None] = [None] * len(texts)
        told = [position for position, text in enumerate(texts) if _tells_something(text)]
        if not told or not self._known.any():
            return found
        vectors = self.encoder.encode([texts[position] for position in told])
        for position, row in zip(told, self._compare(vectors), strict=True):
            found[position] = row
        return found

    def _compare(self, vectors: FloatArray) -> list[FloatArray | None]:
        """Similarity of all items to each vector; None for a vector too close to the mean."""
        queries = vectors - self._center
        lengths = np.linalg.norm(queries, axis=1)
        has_direction = np.any(vectors != 0, axis=1) & (lengths > MIN_LENGTH)
        queries /= np.maximum(lengths, MIN_LENGTH)[:, None]
        similar = (queries @ self.vectors.T - (queries @ self._center)[:, None]) / self._lengths
        np.clip(similar, -1, 1, out=similar)
        similar[:, ~self._known] = NOTHING_KNOWN
        rows = similar.astype(np.float32, copy=False)
        return [row if told else None for row, told in zip(rows, has_direction, strict=True)]


def _tells_something(text: str) -> bool:
    """Whether a text has a letter, a digit or a symbol such as a pictograph."""
    return any(character.isalnum() or category(character) == "So" for character in text)
