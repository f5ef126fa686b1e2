"""Histories of item_indices, and histories of many lengths as padded blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]
Block = TypeVar("Block", npt.NDArray[np.int64], Weights)
Histories = Sequence[Items]  # item_indices, oldest → newest


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
    return _fill(block, histories)


def pad_weights(weights: Sequence[Weights]) -> Weights:
    """Weights of histories, padded with 0 on the right: float32 [B, L], as `pad_right` pads."""
    return _fill(np.zeros((len(weights), max(map(len, weights))), dtype=np.float32), weights)


def _fill(block: Block, rows: Sequence[npt.NDArray[np.generic]]) -> Block:
    for to, row in zip(block, rows, strict=True):
        to[: len(row)] = row
    return block


def cut_windows(sequences: Histories, length: int) -> list[Items]:
    """Sequences cut, from the end, into windows of at most `length` steps.

    A window of s steps holds s + 1 items, since each item but the first is a target; windows
    share the one item that is target in the earlier and input in the later. Sequences of fewer
    than two items hold no step and yield nothing. Negated items are no targets (see
    `offline.data.insertions`), and a window without a target is left out.
    """
    return [sequences[row][span] for row, span in window_spans(sequences, length)]


def window_spans(sequences: Histories, length: int) -> list[tuple[int, slice]]:
    """The row and the part of it that each window of `cut_windows` is."""
    spans = [
        (row, slice(max(0, end - length - 1), end))
        for row, sequence in enumerate(sequences)
        for end in range(len(sequence), 1, -length)
    ]
    return [(row, span) for row, span in spans if (sequences[row][span][1:] > 0).any()]
