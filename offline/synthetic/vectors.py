"""Item vectors without training: synthetic ones, and variations of trained ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline.synthetic.world import Items, World

Vectors = npt.NDArray[np.float32]

_CHUNK_ROWS = 1 << 18
_WITHIN_CLUSTER = 0.6
_VARIATION = 0.5


def clustered_vectors(world: World, size: int) -> Vectors:
    """float32 [N+1, D], row 0 zeros: a cluster's centre and noise, of norms 0.5 to 2."""
    rng = np.random.default_rng([world.seed, world.n_items, 2])
    centres = rng.normal(size=(world.n_clusters, size)).astype(np.float32)
    clusters = world.clusters()
    table = np.zeros((world.n_items + 1, size), dtype=np.float32)
    for start in range(1, len(table), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        part = rng.standard_normal((len(table[rows]), size), dtype=np.float32)
        part *= _WITHIN_CLUSTER
        part += centres[clusters[rows]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        part *= np.exp2(rng.uniform(-1, 1, (len(part), 1))).astype(np.float32)
        table[rows] = part
    return table


def repeat_rows(table: Vectors, clusters: Items, world: World) -> Vectors:
    """A table for a larger world: the rows, then copies of them with noise.

    The noise has the covariance of rows within a cluster, half as wide, in proportion to a row's
    length.

    Args:
        table: float32 [M+1, D].
        clusters: int32 [M+1], of its rows.
        world: of more than M items.
    """
    rng = np.random.default_rng([world.seed, world.n_items, 7])
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    turned = np.linalg.cholesky(_spread_within(table, clusters)).T.astype(np.float32)
    turned *= _VARIATION / np.sqrt(np.mean(lengths[1:] ** 2))
    repeated = np.empty((world.n_items + 1, table.shape[1]), dtype=np.float32)
    repeated[: len(table)] = table
    for start in range(len(table), len(repeated), _CHUNK_ROWS):
        rows = np.arange(start, min(start + _CHUNK_ROWS, len(repeated)))
        known = (rows - 1) % (len(table) - 1) + 1
        noise = rng.standard_normal((len(rows), table.shape[1]), dtype=np.float32) @ turned
        repeated[rows] = table[known] + noise * lengths[known]
    return repeated


def _spread_within(table: Vectors, clusters: Items) -> npt.NDArray[np.float64]:
    """Covariance of rows around the means of their clusters, float64 [D, D]."""
    order = np.argsort(clusters[1:], kind="stable") + 1
    rows, of_row = table[order], clusters[order]
    starts = np.flatnonzero(np.diff(of_row, prepend=-1))
    sizes = np.diff(np.append(starts, len(rows)))
    means = np.add.reduceat(rows, starts) / sizes[:, None]
    rows -= np.repeat(means.astype(np.float32), sizes, axis=0)
    covariance: npt.NDArray[np.float64] = np.cov(rows.T)
    return covariance + 1e-9 * np.eye(len(covariance))


def expected_popularity(world: World) -> Vectors:
    """float32 [N+1]: Zipf within each cluster, whole numbers as counts are."""
    sizes = np.diff(world.starts)
    rank = np.arange(world.n_items) - np.repeat(world.starts[:-1], sizes)
    counts = np.zeros(world.n_items + 1, dtype=np.float32)
    counts[world.item_at] = np.floor(np.repeat(sizes, sizes) / (rank + 1.0))
    return counts
