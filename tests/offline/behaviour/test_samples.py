"""Training samples, and interactions that never become one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.behaviour.samples import Samples, draw_samples, histories_of
from offline.data.split import Cases, Split
from tests.offline.behaviour.world import make_split


def split_of(*rows: list[int]) -> Split:
    """Training rows; the held-out part has items that no row has."""
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    users = np.arange(len(rows), dtype=np.int32)
    cases = [Cases(users, offsets, items, np.full(len(rows), n, np.int32)) for n in (98, 99)]
    return Split(offsets, items, *cases)


def pairs_of(samples: Samples) -> list[tuple[tuple[int, ...], int]]:
    rows = np.arange(len(samples))
    positions, targets = samples.targets_of(rows)
    return sorted(
        (tuple(samples.histories[row].tolist()), int(target))
        for row, target in zip(positions, targets, strict=True)
    )


def test_every_position_but_a_users_first_is_a_sample() -> None:
    split = split_of([1, 2, 3], [4], [], [5, 6])
    samples = draw_samples(split, 2, 0, np.random.default_rng(0))
    assert pairs_of(samples) == [((1, 0), 2), ((2, 1), 3), ((5, 0), 6)]


def test_equal_histories_are_one_sample_with_all_their_targets() -> None:
    split = split_of([1, 2], [1, 3], [1, 3])
    samples = draw_samples(split, 1, 0, np.random.default_rng(0))
    assert len(samples) == 1
    assert pairs_of(samples) == [((1,), 2), ((1,), 3), ((1,), 3)]


def test_items_of_the_history_are_no_targets() -> None:
    samples = draw_samples(split_of([1, 1, 2, 1]), 2, 0, np.random.default_rng(0))
    assert pairs_of(samples) == [((1, 1), 2)]


def test_positions_are_drawn_of_each_user() -> None:
    split = split_of([1, 2, 3, 4, 5, 6], [7, 8], [9])
    drawn = [draw_samples(split, 1, 2, np.random.default_rng(seed)) for seed in range(30)]
    for samples in drawn:
        pairs = pairs_of(samples)
        assert len(pairs) == 3
        assert len([pair for pair in pairs if pair[1] <= 6]) == 2
    everything = {pair for samples in drawn for pair in pairs_of(samples)}
    assert len(everything) == 6


@pytest.mark.parametrize("history_items", [1, 3])
@pytest.mark.parametrize("samples_per_user", [0, 2])
def test_held_out_interactions_are_never_looked_at(
    history_items: int, samples_per_user: int
) -> None:
    split = make_split()
    before = [split.train_history(user).tolist() for user in range(len(split.train_offsets) - 1)]
    steps = {(a, b) for row in before for a, b in itertools.pairwise(row)}
    samples = draw_samples(split, history_items, samples_per_user, np.random.default_rng(0))
    pairs = pairs_of(samples)
    assert pairs
    assert {(history[0], target) for history, target in pairs} <= steps
    held_out = {
        (int(cases.history(case)[-1]), int(cases.targets[case]))
        for cases in (split.validation, split.test)
        for case in range(len(cases))
    }
    assert held_out - steps  # there is something that could have leaked
    assert not {(history[0], target) for history, target in pairs} & (held_out - steps)


@given(
    st.lists(st.lists(st.integers(1, 6), max_size=6), min_size=1, max_size=5),
    st.integers(1, 4),
)
def test_a_sample_is_its_users_history(rows: list[list[int]], history_items: int) -> None:
    expected = sorted(
        (tuple((row[:at][::-1] + [0] * history_items)[:history_items]), row[at])
        for row in rows
        for at in range(1, len(row))
        if row[at] not in row[:at][::-1][:history_items]
    )
    samples = draw_samples(split_of(*rows), history_items, 0, np.random.default_rng(0))
    assert pairs_of(samples) == expected


def test_a_cases_history_is_its_newest_items() -> None:
    split = split_of([1, 2, 3], [4])
    assert histories_of(split.validation, 2).tolist() == [[3, 2], [4, 0]]
