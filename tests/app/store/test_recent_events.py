"""Events that were acknowledged lately: how many are kept, for how long, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from app.store import primary as primary_module
from app.store import recent_events
from app.store.client import StoreClient
from app.store.connection import Command
from app.store.events import EventStore
from app.store.journal import Journal
from app.store.recent_events import RecentEvents
from app.store.state import StoreState
from app.store.store import Store
from model_store import keys
from model_store.codecs import Event
from model_store.event_log import log_key_of
from model_store.store_url import StoreUrl


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
        self.taken: list[Command] = []

    async def call(
        self,
        commands: Sequence[Command],
        limit_s: float | None = None,  # noqa: ARG002
    ) -> list[Any]:
        await self.may_answer.wait()
        self.taken += commands
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


def test_a_takeover_that_the_background_notices_sends_no_event_of_a_request_to_the_journal(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        journal, server = Journal(tmp_path), OldPrimary()
        recent = RecentEvents(StoreState())
        store = EventStore(server, server, StoreState(), journal, recent=recent)
        posted = asyncio.create_task(store.append([("u1", Event("i1", 1.0))]))
        await asyncio.sleep(0)
        await store.taken_over(None, is_background=True)
        server.may_answer.set()
        assert await posted == 0
        assert recent.user_ids == {"u1"}  # for the takeover that the requests' client notices
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


def names(commands: Sequence[Command], user_id: str) -> bool:
    """Whether some of them write to a user's events."""
    return any(keys.events_key(user_id) in command for command in commands)


def test_what_the_journal_can_not_take_is_sent_to_the_new_primary_by_the_next_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        journal, old, new = Journal(tmp_path), OldPrimary(), OldPrimary()
        recent = RecentEvents(StoreState())
        store = EventStore(old, new, StoreState(), journal, recent=recent)
        old.may_answer.set()
        assert await store.append([("u1", Event("i1", 1.0))]) == 0
        with monkeypatch.context() as patch:
            patch.setattr(journal, "append", mock.AsyncMock(side_effect=OSError(28, "full")))
            await store.taken_over(None)
        assert recent.user_ids == {"u1"}
        new.may_answer.set()
        for _ in range(2):
            await store.replay()
            assert names(new.taken, "u1")
            assert recent.user_ids == {"u1"}
        assert sum(names([command], "u1") for command in new.taken) == 1
        journal.close()

    asyncio.run(go())


class Link:
    """A connection to a server or a Sentinel, which names one."""

    probed = (None, 0)
    is_open = True

    def __init__(self, taken: list[Command], named: list[bytes]) -> None:
        self._taken = taken
        self._named = named

    async def call_within(self, _commands: object, _limit_s: float) -> list[Any]:
        return [(self._named[-1], b"6379")]

    def call(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        self._taken += commands
        future = asyncio.get_running_loop().create_future()
        future.set_result([None] * len(commands))
        return future

    def close(self) -> None:
        self.is_open = False


def test_what_the_background_replays_to_the_old_primary_is_sent_to_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests have noticed the takeover, and the background has not yet."""
    named = [b"old"]
    taken: dict[str, list[Command]] = {"watch": [], "old": [], "new": []}
    links: dict[str, Link] = {}

    async def open_connection(url: StoreUrl, *_given: object, **_named: object) -> Link:
        links[url.host] = Link(taken[url.host], named)
        return links[url.host]

    monkeypatch.setattr(primary_module, "open_connection", open_connection)

    async def go() -> None:
        journal = Journal(tmp_path)
        url = StoreUrl.parse("redis+sentinel://watch:26379/shop")
        store = Store(url, journal, timeout_s=1.0, remembered_users=0)
        await store.events.append([("u0", Event("i1", 1.0))])
        of_requests = links["old"]
        await journal.append({"u1": [Event("i1", 1.0)]})
        await store.events.replay()
        of_background = links["old"]
        assert of_background is not of_requests
        named.append(b"new")
        of_requests.close()
        await store.events.append([("u2", Event("i1", 1.0))])
        await store.events.replay()  # to the old one, which acknowledges that
        assert journal.user_ids == []
        of_background.close()
        await journal.append({"u3": [Event("i1", 1.0)]})
        for _ in range(2):
            await store.events.replay()
        assert all(names(taken["new"], user_id) for user_id in ("u0", "u1", "u2", "u3"))
        store.close()
        journal.close()

    asyncio.run(go())
