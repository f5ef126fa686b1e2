"""Users with tastes, items that meet them, and clicks of known probability.

An item is of one kind and has an appeal. A user likes one kind best and a second one half as much.
A user who looks at the item on rank r clicks with probability

    p = appeal x match / log2(1 + r)

where the match is MATCH for the best kind, half of it for the second, and OTHER for all others.
Half-way, a fifth of the users get another best kind. On some days users find an item by
themselves, of whatever kind they like and the more appealing the likelier: a search, a friend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MATCH, OTHER = 0.8, 0.03
SHIFTING = 0.2
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A world; all of it follows from its seed, whatever is shown to whom.

    Attributes:
        users, items, kinds: how many there are.
        days: simulated days on which the shop recommends.
        earlier_days: before them, on which users only find things by themselves.
        seed: of everything.
        visits, finds: shares of the users who visit, and who find something, on a day.
    """

    users: int
    items: int
    kinds: int
    days: int
    earlier_days: int
    seed: int
    visits: float = 0.7
    finds: float = 0.3

    @property
    def shift_day(self) -> int:
        """From which on the tastes are the new ones."""
        return self.days // 2

    @cached_property
    def kind(self) -> Numbers:
        """Of each item."""
        return np.arange(self.items) % self.kinds

    @cached_property
    def appeal(self) -> Floats:
        """Of each item, between .2 and 1."""
        return self._draws("appeal").uniform(0.2, 1.0, self.items)

    @cached_property
    def tastes(self) -> Numbers:
        """`[users, 3]`: the best kind, the second, and the best one after a shift.

        The first kinds have more friends than the last ones (as 1 / (2 + number)), so that
        popularity is worth something.
        """
        weights = 1 / (2.0 + np.arange(self.kinds))
        # The largest Gumbel-perturbed logarithms are draws without replacement.
        noise = self._draws("tastes").gumbel(size=(self.users, self.kinds))
        return np.argsort(-(np.log(weights) + noise), axis=1)[:, :3]

    @cached_property
    def shifts(self) -> Bools:
        """Whose taste shifts half-way."""
        drawn: Bools = self._draws("shifts").random(self.users) < SHIFTING
        return drawn

    def best_kind(self, day: int) -> Numbers:
        """The kind that each user likes best on a day."""
        return np.where(self.shifts & (day >= self.shift_day), self.tastes[:, 2], self.tastes[:, 0])

    def liking(self, day: int) -> Floats:
        """`[users, items]`: probability of a click on rank 1."""
        match = np.full((self.users, self.items), OTHER)
        match[self.kind[None, :] == self.tastes[:, [1]]] = MATCH / 2
        match[self.kind[None, :] == self.best_kind(day)[:, None]] = MATCH
        return match * self.appeal

    def visitors(self, day: int) -> Numbers:
        """Who visits the shop on a day, in the order of the visits."""
        draws = self._draws("visits", day)
        return draws.permutation(np.flatnonzero(draws.random(self.users) < self.visits))

    def would_click(self, day: int) -> Floats:
        """`[users, items]`: a user clicks where the probability is above this uniform draw.

        The draws are the same whatever is shown, so that policies differ by what they show alone.
        """
        return self._draws("clicks", day).random((self.users, self.items))

    def found(self, day: int) -> list[tuple[int, int]]:
        """Users and the items that they find by themselves on a day; earlier days are below 0."""
        draws = self._draws("finds", day + self.earlier_days)
        noise = draws.gumbel(size=(self.users, self.items))
        items = np.argmax(np.log(self.liking(day)) + noise, axis=1)
        return [
            (user, int(items[user]))
            for user in np.flatnonzero(draws.random(self.users) < self.finds).tolist()
        ]

    def clicks(self, user: int, shown: list[int], liking: Floats, draws: Floats) -> list[int]:
        """Ranks, from 1, of the shown items that a user clicks.

        Args:
            user: who visits.
            shown: items, best first.
            liking, draws: `liking(day)` and `would_click(day)`.
        """
        return [
            rank
            for rank, item in enumerate(shown, 1)
            if draws[user, item] < liking[user, item] * attention(rank)
        ]

    def _draws(self, what: str, day: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, *what.encode(), day])


def attention(rank: int) -> float:
    """Probability that a user looks at a rank."""
    return float(1 / np.log2(1 + rank))
