from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offline.data.histories import cut_windows, pad_left, pad_right
from offline.training.batches import batches_by_length

histories = st.lists(
    st.lists(st.integers(1, 99), max_size=12).map(lambda items: np.array(items, np.int32)),
    max_size=8,
)


@given(histories, st.integers(1, 15))
def test_padding_keeps_the_last_items_on_the_right(rows: list[np.ndarray], max_length: int) -> None:
    block = pad_left(rows, max_length)
    assert block.dtype == np.int64
    assert block.shape[0] == len(rows)
    assert block.shape[1] == max(1, min(max_length, max((len(row) for row in rows), default=1)))
    for padded, row in zip(block, rows, strict=True):
        kept = row[-max_length:]
        assert padded[len(padded) - len(kept) :].tolist() == kept.tolist()
        assert not padded[: len(padded) - len(kept)].any()


@given(histories.filter(len))
def test_padding_on_the_right_keeps_everything_on_the_left(rows: list[np.ndarray]) -> None:
    block = pad_right(rows)
    assert block.shape == (len(rows), max(map(len, rows)))
    for padded, row in zip(block, rows, strict=True):
        assert padded[: len(row)].tolist() == row.tolist()
        assert not padded[len(row) :].any()


@given(histories, st.integers(1, 5))
def test_windows_hold_every_step_once(sequences: list[np.ndarray], length: int) -> None:
    windows = cut_windows(sequences, length)
    assert all(2 <= len(window) <= length + 1 for window in windows)
    steps = sorted(step for window in windows for step in itertools.pairwise(window))
    assert steps == sorted(step for sequence in sequences for step in itertools.pairwise(sequence))


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(1, 7), st.integers(0, 3))
def test_batches_hold_every_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = list(batches_by_length(np.array(lengths, np.int64), batch_size, rng))
    assert all(len(batch) <= batch_size for batch in batches)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


def test_batches_hold_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 512)
    batches = batches_by_length(lengths, 32, np.random.default_rng(1))
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.15 * lengths.sum()
