"""Events that were acknowledged lately: how many are kept, for how long, and for whom."""

from __future__ import annotations

import pytest

from app.store import recent_events
from app.store.recent_events import RecentEvents
from app.store.state import StoreState
from model_store import keys
from model_store.codecs import Event


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
    slot = keys.in_cluster(keys.events_key("u2"))[1]
    assert list(recent.take({slot})) == ["u2"]
    assert recent.user_ids == {"u0", "u3"}
