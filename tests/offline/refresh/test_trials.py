"""What becomes of a canary, whatever the service says and whenever the refresh was killed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from pydantic import SecretStr

from model_store.errors import RegistryError, ServiceAway
from offline.refresh import trials
from offline.refresh.trials import PATIENCE_S, ChangedMeanwhileError, Service, Trial

NEW, OLD = "v2", "v1"


def canary(word: str, version: str = NEW, age_s: float = 0.0) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return {"version": version, "since": since, "verdict": {"word": word, "reason": f"{word}!"}}


def state(**changes: Any) -> dict[str, Any]:
    found = {"active": OLD, "canary": None, "shadow": None, "workers": [1, 2], "audit": []}
    return {"generation": 7, **found, **changes}


def shadow(age_s: float = 0.0) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return {"version": NEW, "since": since}


@dataclass
class Clock:
    """Time that passes where somebody waits."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Scripted:
    """A service whose deployments follow each other, the last one again and again.

    None: it can't be asked, which takes `away_s` to notice. Changes meet with `faults` first.
    """

    states: list[dict[str, Any] | None]
    changes: list[tuple[Any, ...]] = field(default_factory=list)
    faults: list[RegistryError] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    away_s: float = 0.0

    def deployment(self) -> dict[str, Any]:
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if found is None:
            self.clock.now += self.away_s
            raise away()
        return found

    def change(self, version: str, action: str, body: object = None) -> dict[str, Any]:
        self.changes.append((version, action) if body is None else (version, action, body))
        if self.faults:
            raise self.faults.pop(0)
        return {"active": version, "workers": 2}

    def compare_shadowed(self, *_: str) -> dict[str, Any]:
        return {"segments": {}, "answers": 0, "latency_ms": {}}


def away() -> ServiceAway:
    return ServiceAway("http://shop: Connection reset by peer")


def trial(*states: dict[str, Any] | None) -> tuple[Trial, Scripted]:
    service = Scripted([*states])
    clock = service.clock
    given = cast(Service, service)
    return Trial(given, OLD, NEW, lambda _: None, sleep=clock.sleep, clock=clock), service


def test_it_waits_for_a_verdict() -> None:
    made, service = trial(*(state(canary=canary(word)) for word in ("waiting", "waiting", "fine")))
    assert made.await_verdict(60) == {"word": "fine", "reason": "fine!"}
    assert service.changes == []


def test_a_service_that_is_restarted_meanwhile_is_asked_again() -> None:
    waiting, fine = state(canary=canary("waiting")), state(canary=canary("fine"))
    made, service = trial(waiting, *[None] * 100, waiting, *[None] * 100, fine)
    assert made.await_verdict(60) == {"word": "fine", "reason": "fine!"}
    assert service.changes == []


def test_one_that_stays_away_is_an_error_of_its_own() -> None:
    for away_s in (0.0, 10.0, 130.0):
        made, service = trial(state(canary=canary("waiting")), None)
        service.away_s = away_s
        with pytest.raises(ServiceAway, match="Connection reset by peer"):
            made.await_verdict(60)
        assert PATIENCE_S <= service.clock.now <= PATIENCE_S + 2 + away_s


def test_a_service_that_is_silent_is_away_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LOOK_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceAway, match="timed out"):
            Service(url, SecretStr("token")).deployment()


BEFORE, BEGUN = state(), state(canary=canary("waiting"))
OLD_CANARY = state(canary=canary("waiting", age_s=61))
CHANGES: dict[str, tuple[Any, ...]] = {
    "begin a shadow": (BEFORE, state(shadow=shadow(61)), lambda made: made.shadow(10, 60)),
    "end a shadow": (state(shadow=shadow(61)), BEFORE, lambda made: made.shadow(10, 60)),
    "begin a canary": (BEFORE, BEGUN, lambda made: made.begin_canary(5)),
    "end a canary": (OLD_CANARY, BEFORE, lambda made: made.await_verdict(60)),
    "promote": (BEGUN, state(active=NEW), lambda made: made.promote()),
    "activate": (BEFORE, state(active=NEW), lambda made: made.promote()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_repeated_where_it_has_not_happened(name: str) -> None:
    before, after, step = CHANGES[name]
    made, service = trial(before, after)
    expected = step(made)
    wanted = service.changes
    # The reply is lost, and it has happened.
    made, service = trial(before, *[None] * 3, after)
    service.faults = [away()]
    assert step(made) == expected
    assert service.changes == wanted
    # It has not, and is rejected as long as what is left of the first one is in the way.
    made, service = trial(before, None, before, before, after)
    service.faults = [away(), RegistryError("version 'v2' is being brought to the workers"), away()]
    assert step(made) == expected
    assert service.changes == [wanted[0]] * 3 + wanted[1:]


def test_a_change_that_stays_impossible_ends_the_trial() -> None:
    made, service = trial(BEFORE)
    service.faults = [away() for _ in range(500)]
    with pytest.raises(ServiceAway):
        made.promote()
    assert PATIENCE_S <= service.clock.now <= PATIENCE_S + 2
    made, service = trial(BEFORE)
    service.faults = [RegistryError("version 'v2' is not published")]
    with pytest.raises(RegistryError, match="not published"):
        made.promote()
    assert service.clock.now == 0


def test_what_was_undone_meanwhile_is_not_done_again() -> None:
    audit = [{"what": f"promote {NEW}, before {OLD}", "generation": 8}]
    made, service = trial(BEGUN, state(generation=9, audit=audit))
    service.faults = [away()]
    with pytest.raises(RegistryError, match="went back from 'v2' to 'v1'"):
        made.promote()
    assert len(service.changes) == 1
    taken = {"what": f"take the canary back: {NEW}: errors 4 %", "generation": 9}
    audit = [taken, {"what": f"canary {NEW} at 5 %", "generation": 8}]
    made, service = trial(BEFORE, state(generation=9, audit=audit))
    service.faults = [away()]
    made.begin_canary(5)
    assert made.await_verdict(60) == {"word": "taken back", "reason": taken["what"]}
    assert len(service.changes) == 1


def test_one_that_the_service_took_back_is_told_with_the_reason() -> None:
    taken = {"what": f"take the canary back: {NEW}: errors 4 %"}
    made, _ = trial(state(canary=canary("worse")), state(audit=[{"what": "shadow"}, taken]))
    assert made.await_verdict(60) == {"word": "taken back", "reason": taken["what"]}


def test_one_without_a_verdict_ends_after_its_time() -> None:
    made, service = trial(state(canary=canary("waiting", age_s=61)))
    found = made.await_verdict(60)
    assert found == {"word": "undecided", "reason": "no verdict after 60 s: waiting!"}
    assert service.changes == [(NEW, "canary", {"percent": 0})]


def test_a_canary_that_is_there_is_not_begun_again() -> None:
    made, service = trial(state(canary=canary("waiting")))
    made.begin_canary(5)
    assert service.changes == []
    made, service = trial(state())
    made.begin_canary(5)
    assert service.changes == [(NEW, "canary", {"percent": 5})]
    made, _ = trial(state(canary=canary("waiting", version="v9")))
    with pytest.raises(RegistryError, match="version 'v9' is the canary"):
        made.begin_canary(5)


@pytest.mark.parametrize("is_canary", [True, False])
def test_it_is_promoted_as_what_it_is(is_canary: bool) -> None:
    made, service = trial(state(canary=canary("fine") if is_canary else None))
    assert made.promote() == {"active": NEW, "workers": 2}
    assert service.changes == [(NEW, "promote" if is_canary else "activate")]


def test_one_that_is_active_is_not_promoted_again() -> None:
    made, service = trial(state(active=NEW))
    assert made.promote()["active"] == NEW
    assert service.changes == []


def steps(made: Trial) -> Iterator[Any]:
    yield lambda: made.begin_canary(5)
    yield lambda: made.await_verdict(60)
    yield made.promote
    yield lambda: made.shadow(10, 60)


def test_nothing_is_done_where_another_version_became_active() -> None:
    made, service = trial(state(active="v9"))
    for step in steps(made):
        with pytest.raises(ChangedMeanwhileError, match="'v9' became active meanwhile"):
            step()
    assert service.changes == []
