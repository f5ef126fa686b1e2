"""Item vectors that nobody trained: clustered directions, norms that grow with popularity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline.made.world import World

Vectors = npt.NDArray[np.float32]

_CHUNK_ROWS = 1 << 18
_WITHIN_CLUSTER = 0.6


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


def expected_popularity(world: World) -> Vectors:
    """float32 [N+1]: Zipf within each cluster, whole numbers as counts are."""
    sizes = np.diff(world.starts)
    rank = np.arange(world.n_items) - np.repeat(world.starts[:-1], sizes)
    counts = np.zeros(world.n_items + 1, dtype=np.float32)
    counts[world.item_at] = np.floor(np.repeat(sizes, sizes) / (rank + 1.0))
    return counts
