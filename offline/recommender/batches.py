"""Histories of many lengths as padded blocks of nearly one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[np.int32]
Histories = Sequence[Items]  # item_indices, oldest → newest

# Sorting by length happens within pools of this many batches: little padding, and still chance.
_POOL_BATCHES = 16


def pad_left(histories: Histories, max_length: int) -> npt.NDArray[np.int64]:
    """The last `max_length` items of each history, padded with 0 on the left: int64 [B, L].

    L is the longest (cut) history's length, 1 where all are empty.
    """
    length = max(1, min(max_length, max((len(history) for history in histories), default=1)))
    block = np.zeros((len(histories), length), dtype=np.int64)
    for row, history in zip(block, histories, strict=True):
        kept = history[-length:]
        row[length - len(kept) :] = kept
    return block


def pad_right(histories: Histories) -> npt.NDArray[np.int64]:
    """Histories padded with 0 on the right: int64 [B, L]; L is the longest one's length."""
    block = np.zeros((len(histories), max(map(len, histories))), dtype=np.int64)
    for row, history in zip(block, histories, strict=True):
        row[: len(history)] = history
    return block


def cut_windows(sequences: Histories, length: int) -> list[Items]:
    """Sequences cut, from the end, into windows of at most `length` steps.

    A window of s steps holds s + 1 items, since each item but the first is a target; windows
    share the one item that is target in the earlier and input in the later. Sequences of fewer
    than two items hold no step and yield nothing.
    """
    return [
        sequence[max(0, end - length - 1) : end]
        for sequence in sequences
        for end in range(len(sequence), 1, -length)
    ]


def batches_by_length(
    lengths: npt.NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches, shuffled, rows of nearly one length together."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _POOL_BATCHES):
        pool = order[start : start + batch_size * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    for position in rng.permutation(len(batches)):
        yield batches[position]
