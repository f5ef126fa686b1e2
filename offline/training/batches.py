"""Rows of many lengths in batches of nearly one length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

# Sorting by length happens within pools of this many batches: little padding, and still shuffled.
_POOL_BATCHES = 16


def batches_by_length(
    lengths: npt.NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> Iterator[Rows]:
    """Row numbers in batches, shuffled, rows of nearly one length together."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _POOL_BATCHES):
        pool = order[start : start + batch_size * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    for position in rng.permutation(len(batches)):
        yield batches[position]
