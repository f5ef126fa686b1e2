"""Training samples: a history's last items, and the next items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.data.split import Cases, Split

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Distinct histories, each with all its next items.

    Attributes:
        histories: item_indices, the newest first, 0 where a history is shorter: int32 [S, H].
        offsets: int64 [S+1]; sample s has targets `offsets[s]:offsets[s + 1]`.
        targets: int32 [T]; an item that followed twice is listed twice.
    """

    histories: Int32
    offsets: Int64
    targets: Int32

    def __len__(self) -> int:
        """Number of distinct histories S."""
        return len(self.histories)

    def targets_of(self, rows: Int64) -> tuple[Int64, Int32]:
        """Targets of some samples: position in `rows` and item_index, both [T]."""
        counts = self.offsets[rows + 1] - self.offsets[rows]
        positions = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return positions, self.targets[np.repeat(self.offsets[rows], counts) + within]


def draw_samples(
    split: Split, history_items: int, samples_per_user: int, rng: np.random.Generator
) -> Samples:
    """Samples from the training part only; held-out interactions are never read.

    Targets that are in their history are left out: in ranking they are no candidates.

    Args:
        split: its training part is read.
        history_items: H, number of last items of a history.
        samples_per_user: positions drawn of each user; 0 for all of them.
        rng: random generator.
    """
    lengths = np.diff(split.train_offsets)
    within = np.arange(len(split.train_items)) - np.repeat(split.train_offsets[:-1], lengths)
    positions = np.flatnonzero(within > 0)
    if samples_per_user:
        users = np.repeat(np.arange(len(lengths)), lengths)[positions]
        positions = positions[_drawn_of_each(users, samples_per_user, rng)]
    items, places = split.train_items, within[positions]
    steps = range(1, history_items + 1)
    histories = np.stack(
        [np.where(places >= step, items[np.maximum(positions - step, 0)], 0) for step in steps],
        axis=1,
    ).astype(np.int32)
    targets = items[positions]
    is_new = (histories != targets[:, None]).all(axis=1)
    return _merged(histories[is_new], targets[is_new])


def newest(history: Int32, n: int) -> Int32:
    """The last `n` items of a history int32 [L], newest first, int32 [n]; 0 where there are
    fewer."""
    last = np.zeros(n, dtype=np.int32)
    last[: len(history)] = history[::-1][:n]
    return last


def histories_of(cases: Cases, history_items: int) -> Int32:
    """The newest items before each case's target, int32 [C, H]; see `newest`."""
    histories = np.zeros((len(cases), history_items), dtype=np.int32)
    for row in range(len(cases)):
        histories[row] = newest(cases.history(row), history_items)
    return histories


def _drawn_of_each(users: Int64, n: int, rng: np.random.Generator) -> Int64:
    """Positions in `users`, which ascends, of `n` (or all) drawn of each user."""
    order = np.lexsort((rng.random(len(users)), users))
    starts = np.searchsorted(users, users)
    drawn: Int64 = np.sort(order[np.arange(len(users)) - starts < n])
    return drawn


def _merged(histories: Int32, targets: Int32) -> Samples:
    distinct, sample = np.unique(histories, axis=0, return_inverse=True)
    sample = sample.reshape(-1)
    counts = np.bincount(sample, minlength=len(distinct))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Samples(distinct, offsets, targets[np.argsort(sample, kind="stable")])
