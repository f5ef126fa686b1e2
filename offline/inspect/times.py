"""When the interactions happened, and whether their order is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from offline.data.interactions import Interactions

DAY_S = 86_400


@dataclass(frozen=True)
class Times:
    """The times of the interactions.

    Attributes:
        first_s, last_s: the earliest and the latest, unix seconds.
        n_tied: interactions at the time of another one of the same user: their order is the
            file's.
        n: all interactions.
        are_dates: all times are midnights (UTC).
    """

    first_s: float
    last_s: float
    n_tied: int
    n: int
    are_dates: bool

    @property
    def share_tied(self) -> float:
        """Share of the interactions whose order among others is not known from their times."""
        return self.n_tied / self.n


def measure_times(interactions: Interactions) -> Times:
    """The times of a data set's interactions, of which there is one at least."""
    times = interactions.timestamps
    is_tied = np.zeros(len(times), dtype=np.bool_)
    same = times[1:] == times[:-1]
    # The first interaction of a user has nothing to do with the last of the one before.
    same[interactions.offsets[1:-1] - 1] = False
    is_tied[1:] |= same
    is_tied[:-1] |= same
    return Times(
        first_s=float(times.min()),
        last_s=float(times.max()),
        n_tied=int(is_tied.sum()),
        n=len(times),
        are_dates=bool((times % DAY_S == 0).all()),
    )


def written(time_s: float) -> str:
    """A time as a person reads it, UTC to the second; the number where it is no date."""
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{time_s:g} s"
