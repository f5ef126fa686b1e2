"""Exposures and clicks of one arm, as the few sums that its effect is computed from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

from model_store.errors import StoreError


class UserSums(NamedTuple):
    """What one user has seen and clicked in an arm so far."""

    exposures: int = 0
    clicks: int = 0


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the users of one arm; or changes of them, which may be negative.

    An arm's user is one with an exposure or a click. All are whole numbers, so that the counters of
    a store can hold them and nothing is lost by adding up in another order.

    Attributes:
        users: number of users, n.
        exposures: Σ x, with x a user's exposures.
        clicks: Σ y, with y a user's clicks.
        exposures_squared: Σ x².
        clicks_squared: Σ y².
        products: Σ x y.
    """

    users: int = 0
    exposures: int = 0
    clicks: int = 0
    exposures_squared: int = 0
    clicks_squared: int = 0
    products: int = 0

    @classmethod
    def of(cls, users: Iterable[UserSums]) -> Moments:
        """The moments of these users."""
        return sum((change(UserSums(), user) for user in users), cls())

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, name) + getattr(other, name) for name in NAMES))

    def to_counts(self) -> dict[str, int]:
        """Each sum by its name, as for the counters of a hash in the store."""
        return asdict(self)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int | str | bytes]) -> Moments:
        """Read counters; one that was never counted up may be missing.

        Raises:
            StoreError: a counter is no whole number, or they contradict one another.
        """
        try:
            moments = cls(*(int(counts.get(name, 0)) for name in NAMES))
        except ValueError as error:
            raise StoreError(f"moments of an arm can't be read: {error}") from error
        if moments._contradict():
            raise StoreError("moments of an arm can't be read: they contradict one another")
        return moments

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_counts(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Moments:
        """Read what `to_json` wrote.

        Raises:
            StoreError: it is damaged.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"moments of an arm can't be read: {error}") from error
        if not isinstance(document, dict) or set(document) != set(NAMES):
            raise StoreError("moments of an arm can't be read: other fields than expected")
        if not all(type(n) is int for n in document.values()):
            raise StoreError("moments of an arm can't be read: not all are whole numbers")
        return cls.from_counts(document)

    def _contradict(self) -> bool:
        """Whether no users can have these sums: one is negative, or a variance would be."""
        n = self.users
        return (
            min(self.to_counts().values()) < 0
            or n * self.exposures_squared < self.exposures**2
            or n * self.clicks_squared < self.clicks**2
            or self.exposures_squared * self.clicks_squared < self.products**2
        )


NAMES = tuple(field.name for field in fields(Moments))


def change(old: UserSums, new: UserSums) -> Moments:
    """What is to be added to an arm's moments when a user's sums change.

    Sums of squares can't be counted up by an event alone: (x + 1)² - x² depends on x. So the store
    keeps the sums of each user too, and whoever counts an event takes the user's sums before and
    after it. Of one user, each change must begin with the sums that the one before it left; changes
    of different users may come in any order. A new user begins with `UserSums()`, and a user who is
    forgotten ends with it.
    """
    return Moments(
        users=int(any(new)) - int(any(old)),
        exposures=new.exposures - old.exposures,
        clicks=new.clicks - old.clicks,
        exposures_squared=new.exposures**2 - old.exposures**2,
        clicks_squared=new.clicks**2 - old.clicks**2,
        products=new.exposures * new.clicks - old.exposures * old.clicks,
    )
