"""How much each user did, how often with the same item, and who did too much to be a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.data.interactions import Interactions
from offline.data.selection import find_repeats, find_runs
from offline.data.split import MIN_INTERACTIONS, Cases

# A user with more interactions than so many times the median is no ordinary one (the busiest of
# MovieLens-1M has 24 times the median); one with more than a request may hold never is.
OUTLIER_MEDIANS, MIN_OUTLIER_LENGTH, MAX_ORDINARY_LENGTH = 50, 1_000, 10_000
MAX_OUTLIERS = 5
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Outlier:
    """A user with so many interactions that it may be a bot, a till or an account of many.

    Attributes:
        user_id: its id.
        n: its interactions.
        n_items: of them, different items.
        an_hour: interactions an hour, from its first to its last.
    """

    user_id: str
    n: int
    n_items: int
    an_hour: float

    def __str__(self) -> str:
        return (
            f"{self.user_id!r:.60}: {self.n:,} interactions with {self.n_items:,} items, "
            f"{self.an_hour:.3g} an hour"
        )


@dataclass(frozen=True)
class Histories:
    """The histories of a data set.

    Attributes:
        n_users: all users.
        quantiles: of the histories' lengths, by `QUANTILES`.
        n_held_out: users with enough interactions to hold the last two out.
        n_repeats: interactions with an item that the user had before.
        n_in_runs: of them, those directly after an interaction with the same item.
        share_of_targets: share of the test targets that stand in their history.
        n_outliers: users with very many interactions.
        n_of_outliers: their interactions.
        outliers: those with the most.
        are_complete: every user has every item.
    """

    n_users: int
    quantiles: tuple[int, ...]
    n_held_out: int
    n_repeats: int
    n_in_runs: int
    share_of_targets: float
    n_outliers: int
    n_of_outliers: int
    outliers: tuple[Outlier, ...]
    are_complete: bool


def measure_histories(interactions: Interactions, test: Cases) -> Histories:
    """The histories of a data set's users, of whom there is one at least.

    Args:
        interactions: all of them.
        test: the test cases.
    """
    lengths = np.diff(interactions.offsets)
    limit = max(MIN_OUTLIER_LENGTH, OUTLIER_MEDIANS * float(np.median(lengths)))
    outliers = np.flatnonzero(lengths > min(limit, MAX_ORDINARY_LENGTH))
    longest = outliers[np.argsort(-lengths[outliers], kind="stable")][:MAX_OUTLIERS]
    n_repeats = int(find_repeats(interactions).sum())
    return Histories(
        n_users=len(lengths),
        quantiles=tuple(int(n) for n in np.quantile(lengths, QUANTILES, method="nearest")),
        n_held_out=int((lengths >= MIN_INTERACTIONS).sum()),
        n_repeats=n_repeats,
        n_in_runs=int(find_runs(interactions).sum()),
        share_of_targets=float(test.are_repeats().mean()) if len(test) else 0.0,
        n_outliers=len(outliers),
        n_of_outliers=int(lengths[outliers].sum()),
        outliers=tuple(_outlier(interactions, int(user)) for user in longest),
        are_complete=len(interactions) - n_repeats == len(lengths) * interactions.n_items,
    )


def _outlier(interactions: Interactions, user: int) -> Outlier:
    row = slice(int(interactions.offsets[user]), int(interactions.offsets[user + 1]))
    times = interactions.timestamps[row]
    hours = max(float(times[-1] - times[0]) / 3600, 1 / 3600)
    items = interactions.items[row]
    return Outlier(
        interactions.user_ids[user], len(items), len(np.unique(items)), len(items) / hours
    )
