"""What is shown to a visitor: by a service, by popularity, or by somebody who knows the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np

from examples.loop.world import World
from longtail_client import Client, Event, RecommendResponse

K = 5
BATCH = 200


@dataclass(frozen=True)
class Shown:
    """An answer: items, best first, and its request's id where it has one."""

    user: int
    items: list[int]
    request_id: str | None = None


@dataclass(frozen=True)
class Act:
    """Something that a user did on a day: the item, and where it was clicked."""

    user: int
    item: int
    rank: int | None = None
    request_id: str | None = None


class Policy(Protocol):
    """Decides what is shown, and hears what people did."""

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """Answers for visitors, in their order."""
        ...

    def hear(self, day: int, acts: Sequence[Act]) -> None:
        """Learn what people did, in order of time."""
        ...


@dataclass
class ByService:
    """A running service, asked and told in batches.

    Attributes:
        client: of the service.
        one_by_one: ask for each visitor alone, as answers of a batch are never drawn at random.
    """

    client: Client
    one_by_one: bool = False
    numbers: count[int] = field(default_factory=count)

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """Ask for recommendations."""
        if self.one_by_one:
            asked = ((user, self.client.recommend(user_id=f"u{user}", k=K)) for user in users)
            return [self._shown(user, answer) for user, answer in asked]
        shown = []
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            answers = self.client.recommend_batch([{"user_id": f"u{u}", "k": K} for u in some])
            for user, answer in zip(some, answers.responses, strict=True):
                if not isinstance(answer, RecommendResponse):
                    raise RuntimeError(f"no answer for u{user}: {answer}")
                shown.append(self._shown(user, answer))
        return shown

    @staticmethod
    def _shown(user: int, answer: RecommendResponse) -> Shown:
        return Shown(user, [int(item.item_id[1:]) for item in answer.items], answer.request_id)

    def hear(self, day: int, acts: Sequence[Act]) -> None:
        """Send events, with ids of their own, so that they may be sent again."""
        events = [self._event(act) for act in acts]
        for start in range(0, len(events), BATCH):
            self.client.send_events(events[start : start + BATCH])

    def _event(self, act: Act) -> Event:
        event: Event = {
            "user_id": f"u{act.user}",
            "item_id": f"i{act.item}",
            "event_id": str(next(self.numbers)),
        }
        if act.request_id is not None:
            event |= {"type": "click", "request_id": act.request_id, "rank": act.rank}
        return event


@dataclass
class _Ranking:
    """Shows the best by some score, without what a user had already."""

    world: World
    had: set[tuple[int, int]] = field(default_factory=set)

    def hear(self, day: int, acts: Sequence[Act]) -> None:
        self.had |= {(act.user, act.item) for act in acts}

    def _best(self, user: int, order: Sequence[int]) -> list[int]:
        found = (item for item in order if (user, item) not in self.had)
        return [item for item, _ in zip(found, range(K), strict=False)]


@dataclass
class ByPopularity(_Ranking):
    """The items with most clicks and finds until the day before, counted anew each day."""

    counts: dict[int, int] = field(default_factory=dict)
    orders: dict[int, list[int]] = field(default_factory=dict)

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """The same for all, but for what they had."""
        if day not in self.orders:
            items = range(self.world.items)
            self.orders = {day: sorted(items, key=lambda item: -self.counts.get(item, 0))}
        return [Shown(user, self._best(user, self.orders[day])) for user in users]

    def hear(self, day: int, acts: Sequence[Act]) -> None:
        """Count."""
        super().hear(day, acts)
        for act in acts:
            self.counts[act.item] = self.counts.get(act.item, 0) + 1


@dataclass
class ByTruth(_Ranking):
    """What nobody can surpass on a day: the items by their true probabilities."""

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """Each user's own best."""
        liking = self.world.liking(day)
        return [
            Shown(user, self._best(user, np.argsort(-liking[user], kind="stable").tolist()))
            for user in users
        ]
