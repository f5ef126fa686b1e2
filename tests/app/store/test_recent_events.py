"""Events that were acknowledged lately: how many are kept, for how long, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.store import recent_events
from app.store.client import StoreClient
from app.store.connection import Command
from app.store.events import EventStore
from app.store.journal import Journal
from app.store.recent_events import RecentEvents
from app.store.state import StoreState
from model_store import keys
from model_store.codecs import Event
from model_store.event_log import log_key_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(recent_events.time, "monotonic", lambda: now[0])
    return now


def kept(recent: RecentEvents) -> dict[str, list[str]]:
    return {user: [event.item_id for event in events] for user, events in recent.take(None).items()}


def test_they_are_kept_for_a_minute_or_until_an_outage_is_over(clock: list[float]) -> None:
    state = StoreState()
    state.set(None, None)
    recent = RecentEvents(state)
    recent.add({"a": [Event("i1", 1.0)]})
    clock[0] += 40
    recent.add({"a": [Event("i2", 2.0)], "b": [Event("i3", 2.0)]})
    state.away("gone")
    clock[0] += 1_000
    recent.add({"c": [Event("i4", 3.0)]})
    assert recent.user_ids == {"a", "b", "c"}
    state.set(None, None)
    recent.add({"d": [Event("i5", 4.0)]})
    assert kept(recent) == {"c": ["i4"], "d": ["i5"]}
    assert kept(recent) == {}


def test_the_oldest_go_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "MAX_KEPT", 3)
    recent = RecentEvents(StoreState())
    for number in range(5):
        recent.add({f"u{number}": [Event("i1", 1.0)]})
    assert recent.user_ids == {"u2", "u3", "u4"}
    recent.add({"u9": [Event("i1", 1.0)] * 4})
    assert recent.user_ids == set()


def test_of_some_slots_and_not_of_who_was_forgotten() -> None:
    recent = RecentEvents(StoreState())
    for number in range(4):
        recent.add({f"u{number}": [Event("i1", float(number))]})
    recent.drop({"u1"})
    assert list(recent.take({keys.slot_of_user("u2")})) == ["u2"]
    assert recent.user_ids == {"u0", "u3"}


def test_the_log_of_a_node_is_made_whole_by_users_of_others() -> None:
    recent = RecentEvents(StoreState())
    for user_id in ("u0", "u1"):
        recent.add({user_id: [Event("i1", 1.0)]})
    stream = keys.in_cluster(log_key_of("u0"))[1]
    assert stream not in {keys.slot_of_user(user_id) for user_id in ("u0", "u1")}
    assert list(recent.take({stream})) == ["u0"]
    assert log_key_of("u0") != log_key_of("u1")


class OldPrimary(StoreClient):
    """Acknowledges everything, once it may."""

    timeout_s = 5.0

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def call(
        self,
        commands: Sequence[Command],
        limit_s: float | None = None,  # noqa: ARG002
    ) -> list[Any]:
        await self.may_answer.wait()
        return [None] * len(commands)

    async def probe(self, *further: Command) -> list[Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_what_the_old_primary_acknowledges_during_a_takeover_waits_for_the_new_one(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        journal, old = Journal(tmp_path), OldPrimary()
        store = EventStore(old, old, StoreState(), journal, recent=RecentEvents(StoreState()))

        def post(user_id: str) -> asyncio.Task[int]:
            return asyncio.create_task(store.append([(user_id, Event("i1", 1.0))]))

        old.may_answer.set()
        assert await post("kept") == 0
        old.may_answer.clear()
        before = post("sent before")
        await asyncio.sleep(0)
        async with journal._lock:  # which the takeover waits for
            takeover = asyncio.create_task(store.taken_over(None))
            await asyncio.sleep(0)
            old.may_answer.set()
            during = post("sent during it")
            await asyncio.sleep(0.01)
        assert await asyncio.gather(takeover, before, during) == [None, 1, 1]
        assert await post("sent after") == 0
        assert set(journal.user_ids) == {"kept", "sent before", "sent during it"}
        journal.close()

    asyncio.run(go())


def test_the_journal_keeps_what_is_written_again_during_a_takeover(tmp_path: Path) -> None:
    async def go() -> None:
        journal, old = Journal(tmp_path), OldPrimary()
        store = EventStore(old, old, StoreState(), journal, recent=RecentEvents(StoreState()))
        await journal.append({"waits": [Event("i1", 1.0)]})
        old.may_answer.set()
        store._without_forgotten = lambda by_user: asyncio.sleep(0, by_user)  # type: ignore[method-assign, assignment]
        old.may_answer.clear()
        replay = asyncio.create_task(store.replay())
        await asyncio.sleep(0.01)
        await store.taken_over(None)
        old.may_answer.set()
        await replay
        assert journal.user_ids == ["waits"]
        await store.replay()
        assert journal.user_ids == []
        journal.close()

    asyncio.run(go())
