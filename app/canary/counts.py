"""What one worker counted of a canary and of the active version over the same time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from app.canary.outcomes import Outcomes
from model_store.errors import StoreError


@dataclass(frozen=True)
class Counts:
    """Outcomes of both versions, which are compared with each other."""

    active: Outcomes = field(default_factory=Outcomes)
    canary: Outcomes = field(default_factory=Outcomes)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps([self.active.to_json(), self.canary.to_json()])

    @classmethod
    def from_json(cls, text: bytes) -> Counts:
        """Read what `to_json` wrote.

        Raises:
            StoreError: it is damaged.
        """
        try:
            active, canary = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"a worker's counts can't be read: {error}") from error
        return cls(Outcomes.from_json(active), Outcomes.from_json(canary))


def total(counts: Iterable[Counts]) -> Counts:
    """The sum over workers."""
    parts = list(counts)
    return Counts(
        reduce(add, (one.active for one in parts), Outcomes()),
        reduce(add, (one.canary for one in parts), Outcomes()),
    )
