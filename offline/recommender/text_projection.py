"""Projects knowledge vectors to the model's size.

Raw text vectors nearly all point in one direction (mean cosine above 0.8), so each projection
centres them first. Rows of zeros (padding, items without knowledge) stay zeros; all other rows
together have unit variance, so that vectors of every kind start as large as random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.errors import ConfigError
from offline.recommender.config import TextProjection
from offline.recommender.recommender import Vectors

_Float64 = npt.NDArray[np.float64]


def project_text(vectors: Vectors, size: int, kind: TextProjection) -> Vectors:
    """Knowledge vectors float32 [N+1, K] as float32 [N+1, size].

    Raises:
        ConfigError: `kind` is "centred" and K is more than `size`.
    """
    if kind == "whitened":
        return whiten(vectors, size)
    return keep_axes(vectors, size) if kind == "pca" else centre(vectors, size)


def whiten(vectors: Vectors, size: int) -> Vectors:
    """Centred, rotated onto their `size` main axes, each of unit variance.

    Args:
        vectors: float32 [N+1, K].
        size: number of axes kept; fewer where the vectors span fewer (the rest are zeros).

    Returns:
        float32 [N+1, size].
    """
    white = np.zeros((len(vectors), size), dtype=np.float32)
    axes = _Axes.of(vectors, size)
    if axes is not None:
        white[axes.rows, : len(axes.scales)] = axes.coordinates * np.sqrt(len(axes.rows))
    return white


def keep_axes(vectors: Vectors, size: int) -> Vectors:
    """Centred and rotated onto their `size` main axes (PCA), which keep their own variances.

    Distances within these axes are those of the vectors, up to one factor; whitening makes the
    least of the axes as important as the first.

    Args, Returns:
        As for `whiten`.
    """
    kept = np.zeros((len(vectors), size), dtype=np.float32)
    axes = _Axes.of(vectors, size)
    if axes is not None:
        kept[axes.rows, : len(axes.scales)] = _rescaled(axes.coordinates * axes.scales, size)
    return kept


def centre(vectors: Vectors, size: int) -> Vectors:
    """Centred and otherwise unchanged, padded with zeros up to `size`.

    Args:
        vectors: float32 [N+1, K].
        size: K or more.

    Returns:
        float32 [N+1, size].

    Raises:
        ConfigError: K is more than `size`.
    """
    if vectors.shape[1] > size:
        raise ConfigError(
            f"recommender.text_projection = 'centred': the knowledge vectors have "
            f"{vectors.shape[1]} numbers, and embedding_size is {size}; make it as large, or take "
            "'pca' or 'whitened'"
        )
    centred = np.zeros((len(vectors), size), dtype=np.float32)
    rows = np.flatnonzero(vectors.any(axis=1))
    if len(rows) > 1:
        centred[rows, : vectors.shape[1]] = _rescaled(_deviations(vectors, rows), size)
    return centred


@dataclass(frozen=True)
class _Axes:
    """Known rows along their main axes: singular vectors and values.

    rows: int64 [R]. coordinates: float64 [R, A], each column of length 1. scales: float64 [A].
    """

    rows: npt.NDArray[np.int64]
    coordinates: _Float64
    scales: _Float64

    @classmethod
    def of(cls, vectors: Vectors, size: int) -> _Axes | None:
        """At most `size` axes, fewer where the vectors span fewer; None for fewer than two rows."""
        rows = np.flatnonzero(vectors.any(axis=1))
        if len(rows) < 2:
            return None
        left, scales, _ = np.linalg.svd(_deviations(vectors, rows), full_matrices=False)
        kept = min(size, int((scales > scales[0] * 1e-6).sum()))
        # The sign of an axis is arbitrary; its farthest row is put on the positive side.
        signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
        return cls(rows, (left * signs)[:, :kept], scales[:kept])


def _deviations(vectors: Vectors, rows: npt.NDArray[np.int64]) -> _Float64:
    known = vectors[rows].astype(np.float64)
    known -= known.mean(axis=0)
    return known


def _rescaled(centred: _Float64, size: int) -> _Float64:
    """Centred vectors times one factor, so that with zeros up to `size` their variance is 1."""
    variance = float(np.square(centred).sum()) / (len(centred) * size)
    return centred / np.sqrt(variance) if variance > 0 else centred
