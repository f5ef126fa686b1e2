"""What becomes of a canary, whatever the service says and whenever the refresh was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from model_store.errors import RegistryError, ServiceAway
from offline.refresh.trials import PATIENCE_S, ChangedMeanwhileError, Service, Trial

NEW, OLD = "v2", "v1"


def canary(word: str, version: str = NEW, age_s: float = 0.0) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return {"version": version, "since": since, "verdict": {"word": word, "reason": f"{word}!"}}


def state(**changes: Any) -> dict[str, Any]:
    found = {"active": OLD, "canary": None, "shadow": None, "workers": [1, 2], "audit": []}
    return {**found, **changes}


@dataclass
class Scripted:
    """A service whose deployments follow each other, the last one again and again.

    None: it can't be asked.
    """

    states: list[dict[str, Any] | None]
    changes: list[tuple[Any, ...]] = field(default_factory=list)

    def deployment(self) -> dict[str, Any]:
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if found is None:
            raise ServiceAway("http://shop: Connection reset by peer")
        return found

    def change(self, *given: Any) -> dict[str, Any]:
        self.changes.append(given)
        return {"active": given[0], "workers": 2}


def trial(*states: dict[str, Any] | None) -> tuple[Trial, Scripted]:
    service = Scripted([*states])
    made = Trial(cast(Service, service), OLD, NEW, lambda _: None, sleep=lambda _: None)
    return made, service


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
    waited: list[float] = []
    made, _ = trial(state(canary=canary("waiting")), None)
    made = replace(made, sleep=waited.append)
    with pytest.raises(ServiceAway, match="Connection reset by peer"):
        made.await_verdict(60)
    assert PATIENCE_S <= sum(waited) <= PATIENCE_S + 2


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
