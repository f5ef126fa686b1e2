"""What is shown to a visitor: by a service, by popularity, or by somebody who knows the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from examples.loop.world import World
from longtail_client import Client, Event, RecommendResponse

K = 5
BATCH = 200
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
"""Simulated days are in the past: a service takes its own clock for events from the future."""
DAY_S = 86_400


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
    """A running service, asked and told in batches."""

    client: Client

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """Ask for recommendations."""
        shown = []
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            answers = self.client.recommend_batch([{"user_id": f"u{u}", "k": K} for u in some])
            for user, answer in zip(some, answers.responses, strict=True):
                if not isinstance(answer, RecommendResponse):
                    raise RuntimeError(f"no answer for u{user}: {answer}")
                items = [int(item.item_id[1:]) for item in answer.items]
                shown.append(Shown(user, items, answer.request_id))
        return shown

    def hear(self, day: int, acts: Sequence[Act]) -> None:
        """Send events, with ids of their own, so that they may be sent again."""
        events = [self._event(day, number, len(acts), act) for number, act in enumerate(acts)]
        for start in range(0, len(events), BATCH):
            self.client.send_events(events[start : start + BATCH])

    @staticmethod
    def _event(day: int, number: int, n: int, act: Act) -> Event:
        event: Event = {
            "user_id": f"u{act.user}",
            "item_id": f"i{act.item}",
            "timestamp": time_of(day, number, n),
            "event_id": f"{day}-{number}",
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

    def show(self, day: int, users: Sequence[int]) -> list[Shown]:
        """The same for all, but for what they had."""
        order = sorted(range(self.world.items), key=lambda item: -self.counts.get(item, 0))
        return [Shown(user, self._best(user, order)) for user in users]

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


def time_of(day: int, number: int, n: int) -> float:
    """Seconds since 1970 of the act with a number of the n acts of a day."""
    return FIRST_DAY + DAY_S * day + round(DAY_S * number / (n + 1))
