"""Training, validation and test parts of interactions, by each user's own order or by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import ConfigError, InputError
from model_store.files import save_array
from offline.data.interactions import Interactions, load_array, load_optional, save_optional

MIN_INTERACTIONS = 3

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cases:
    """Cases for evaluation: a user, a history, and the item that the user chose next.

    users: int32 [C], positions in `Interactions.user_ids`, ascending. targets: int32 [C].
    history_offsets: int64 [C + 1] and history_items: int32: case c has row
    `history_offsets[c]:history_offsets[c + 1]`, all items before its target, oldest first.
    """

    users: Int32
    history_offsets: Int64
    history_items: Int32
    targets: Int32

    def __len__(self) -> int:
        """Number of cases C."""
        return len(self.targets)

    def history(self, case: int) -> Int32:
        """item_indices before a case's target, oldest first, int32 [L]; a view."""
        return self.history_items[self.history_offsets[case] : self.history_offsets[case + 1]]

    def are_repeats(self) -> Bool:
        """Whether the history of each case holds its target already, bool [C]."""
        case_of_item = np.repeat(np.arange(len(self)), np.diff(self.history_offsets))
        repeats = np.zeros(len(self), dtype=np.bool_)
        repeats[case_of_item[self.history_items == self.targets[case_of_item]]] = True
        return repeats

    def chosen(self, mask: Bool) -> Cases:
        """Some of the cases, in their order.

        Args:
            mask: bool [C], true for those.
        """
        rows = np.flatnonzero(mask)
        histories = [self.history(int(row)) for row in rows]
        offsets = np.concatenate(([0], np.cumsum([len(one) for one in histories], dtype=np.int64)))
        items = np.concatenate(histories) if histories else self.history_items[:0]
        return Cases(self.users[rows], offsets, items, self.targets[rows])

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        for name in ("users", "history_offsets", "history_items", "targets"):
            save_array(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Cases:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(
            load_array(folder / "users.npy", np.int32),
            load_array(folder / "history_offsets.npy", np.int64),
            load_array(folder / "history_items.npy", np.int32),
            load_array(folder / "targets.npy", np.int32),
        )


@dataclass(frozen=True)
class Split:
    """Training rows of all users (row u: `train_offsets[u]:train_offsets[u + 1]`), and cases.

    train_offsets: int64 [U + 1]. train_items: int32, oldest first; a row may be empty.
    train_weights: float32, of these items in the loss; None: all are alike.
    """

    train_offsets: Int64
    train_items: Int32
    validation: Cases
    test: Cases
    train_weights: Float32 | None = None

    def train_history(self, user: int) -> Int32:
        """item_indices that a user trains with, oldest first, int32 [L]; a view."""
        return self.train_items[self.train_offsets[user] : self.train_offsets[user + 1]]

    def save(self, folder: Path) -> None:
        """Write as `.npy` files."""
        save_array(folder / "train_offsets.npy", self.train_offsets)
        save_array(folder / "train_items.npy", self.train_items)
        save_optional(folder / "train_weights.npy", self.train_weights)
        self.validation.save(folder / "validation")
        self.test.save(folder / "test")

    def need_cases(self) -> None:
        """Check that there are cases to choose an epoch by, and cases to measure.

        Raises:
            InputError: there are no validation cases, or no test cases.
        """
        for part in ("validation", "test"):
            if not len(getattr(self, part)):
                raise InputError(
                    f"no {part} cases: nobody has enough interactions to hold one out (three in "
                    "all; split by time, one before each cut and one after it)"
                )

    @classmethod
    def load(cls, folder: Path) -> Split:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        return cls(
            load_array(folder / "train_offsets.npy", np.int64),
            load_array(folder / "train_items.npy", np.int32),
            Cases.load(folder / "validation"),
            Cases.load(folder / "test"),
            load_optional(folder / "train_weights.npy"),
        )


def draw_users(n_users: int, n_drawn: int | None) -> Bool:
    """Users drawn at random, bool [U]: the same ones each time, and a larger draw holds a smaller.

    Args:
        n_users: U.
        n_drawn: how many; None: all.
    """
    places = np.random.default_rng(0).permutation(n_users)
    return places < (n_users if n_drawn is None else n_drawn)


def leave_one_out(interactions: Interactions) -> Split:
    """Split off each user's last interaction for test and the one before for validation.

    Test histories hold the validation item. Users with fewer than 3 interactions only train.
    """
    lengths = np.diff(interactions.offsets)
    is_split = lengths >= MIN_INTERACTIONS
    train_lengths = lengths - np.where(is_split, 2, 0)
    return _split(
        interactions,
        train_lengths,
        _cases(interactions, is_split, lengths - 2),
        _cases(interactions, is_split, lengths - 1),
    )


def global_time(
    interactions: Interactions, validation_share: float = 0.1, test_share: float = 0.1
) -> Split:
    """Cut all users at the same two times, so that training sees no future of any user.

    The latest `test_share` of all interactions are from the second cut on, the `validation_share`
    before them from the first. A user's first interaction from a cut on (for validation: and before
    the second) is the target; what the user did before the cut is the history. Users without a
    history make no case. Interactions at the same time are on the same side of a cut.

    Raises:
        ConfigError: the shares leave nothing to train on, or one is not above 0.
        InputError: there are no two different times.
    """
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise ConfigError(
            f"validation_share {validation_share} and test_share {test_share} must be above 0 "
            "and below 1 together"
        )
    times = np.sort(interactions.timestamps)
    n = len(times)
    if n == 0 or times[0] == times[-1]:
        raise InputError("interactions that are all of one time can't be split by time")
    validation_from = times[int(n * (1 - validation_share - test_share))]
    test_from = times[min(int(n * (1 - test_share)), n - 1)]
    n_before_validation = _count_before(interactions, validation_from)
    n_before_test = _count_before(interactions, test_from)
    lengths = np.diff(interactions.offsets)
    return _split(
        interactions,
        n_before_validation,
        _cases(
            interactions,
            (n_before_validation > 0) & (n_before_validation < n_before_test),
            n_before_validation,
        ),
        _cases(interactions, (n_before_test > 0) & (n_before_test < lengths), n_before_test),
    )


SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "leave_one_out": leave_one_out,
    "global_time": global_time,
}
"""Ways to hold interactions out, by the names of `--split`."""


def _count_before(interactions: Interactions, time_s: float) -> Int64:
    """How many interactions each user has before a time, int64 [U]."""
    before = np.concatenate(([0], np.cumsum(interactions.timestamps < time_s)))
    counts: Int64 = before[interactions.offsets[1:]] - before[interactions.offsets[:-1]]
    return counts


def _split(interactions: Interactions, lengths: Int64, validation: Cases, test: Cases) -> Split:
    """The first `lengths[u]` interactions of every user train."""
    offsets, rows = _beginnings(interactions, lengths)
    weights = interactions.weights
    return Split(
        offsets,
        interactions.items[rows],
        validation,
        test,
        None if weights is None else weights[rows],
    )


def _beginnings(interactions: Interactions, lengths: Int64) -> tuple[Int64, Int64]:
    """The first `lengths[u]` interactions of every user, as offsets and rows."""
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    starts = interactions.offsets[:-1] - offsets[:-1]
    return offsets, np.arange(offsets[-1]) + np.repeat(starts, lengths)


def _cases(interactions: Interactions, is_case: Bool, positions: Int64) -> Cases:
    """A case for each user in `is_case`, its target at `positions[u]` of the user's row."""
    lengths = np.where(is_case, positions, 0)
    offsets, rows = _beginnings(interactions, lengths)
    items = interactions.items[rows]
    targets = interactions.items[(interactions.offsets[:-1] + positions)[is_case]]
    users = np.flatnonzero(is_case).astype(np.int32)
    return Cases(users, np.append(offsets[:-1][is_case], offsets[-1]), items, targets)
