"""Series of versions and arms end some time after their last use."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from app.telemetry.recent_series import LINGER_S, RecentNames, RecentSeries


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_name_stays_for_a_while_after_its_last_use(clock: Clock) -> None:
    names = RecentNames(clock)
    names.use({"old"})
    names.use({"new"})
    clock.now_s = LINGER_S - 1
    assert [names.has(name) for name in ("old", "new", "")] == [True, True, True]
    clock.now_s = LINGER_S
    assert [names.has(name) for name in ("old", "new", "")] == [False, True, True]
    names.use({"old"})
    assert names.has("old")
    names.use({"new"})
    assert names.has("old")


def test_a_name_from_before_is_there_for_as_long(clock: Clock) -> None:
    names = RecentNames(clock)
    assert names.has("of a worker that was replaced")
    clock.now_s = LINGER_S
    assert not names.has("of a worker that was replaced")


def test_series_of_what_is_gone_are_left_out(clock: Clock) -> None:
    registry = CollectorRegistry()
    answers = Counter("answers", "-", ("version", "arm"), registry=registry)
    for version, arm in (("1", ""), ("2", ""), ("2", "varied"), ("", "")):
        answers.labels(version, arm).inc()
    rejected = Gauge("rejected", "-", ("version",), registry=registry)
    rejected.labels("1").set(0)
    rejected.labels("unusable").set(1)
    Gauge("workers", "-", registry=registry).set(0)
    versions, arms = RecentNames(clock), RecentNames(clock)
    series = RecentSeries(registry.collect, {"version": versions, "arm": arms})

    def lines() -> set[str]:
        text = generate_latest(series).decode()
        return {line for line in text.splitlines() if not line.startswith("#")}

    versions.use({"2"})
    everything = lines()
    clock.now_s = LINGER_S
    gone = {
        'answers_total{arm="",version="1"} 1.0',
        'answers_total{arm="varied",version="2"} 1.0',
        'rejected{version="1"} 0.0',
    }
    assert everything - lines() == gone
    assert 'rejected{version="unusable"} 1.0' in lines()
