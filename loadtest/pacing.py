"""Intended starts of requests, fixed before any of them is sent.

A person who clicks does not wait for the answers to other people's clicks. So each simulated user
has intended start times that no answer can move, and a latency counts from the intended start, not
from the moment when a slow predecessor let the request go.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

ArrivalKind = Literal["poisson", "constant"]
ARRIVAL_KINDS: tuple[str, ...] = get_args(ArrivalKind)


@dataclass(frozen=True)
class Arrivals:
    """Intended starts at a total `rate_rps` for `duration_s`, split evenly over users.

    `poisson`: independent gaps, as from many people; `constant`: one start every 1 / rate_rps.
    """

    rate_rps: float
    duration_s: float
    n_users: int = 1
    kind: ArrivalKind = "poisson"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate_rps <= 0 or self.duration_s <= 0 or self.n_users < 1:
            raise ValueError(f"rate, duration and number of users must be positive: {self}")

    def of_user(self, user_index: int) -> Iterator[float]:
        """Intended starts of one user, in seconds after the common beginning, ascending."""
        return self._poisson(user_index) if self.kind == "poisson" else self._constant(user_index)

    def _constant(self, user_index: int) -> Iterator[float]:
        # Users are staggered, so that their starts together are evenly spaced.
        number = user_index % self.n_users
        while (start_s := number / self.rate_rps) < self.duration_s:
            yield start_s
            number += self.n_users

    def _poisson(self, user_index: int) -> Iterator[float]:
        # The sum of n independent Poisson streams is one of n times the rate.
        rng = random.Random(f"{self.seed}:{user_index}")
        rate_rps = self.rate_rps / self.n_users
        start_s = rng.expovariate(rate_rps)
        while start_s < self.duration_s:
            yield start_s
            start_s += rng.expovariate(rate_rps)
