"""What an experiment's users see and click, on its way to the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from app.deployment.arms import route_experiment
from app.deployment.exposures import AT_ONCE, Exposures
from app.experiments.moments import NAMES
from model_store import keys
from model_store.errors import StoreAway, StoreError
from model_store.experiment import Experiment
from model_store.experiment_counts import (
    LOAD,
    MOMENTS,
    N_SHARDS,
    REMEMBERED_CLICKS,
    Scope,
    Seen,
    count_command,
    fields_of,
    shard_of,
    user_key,
)

SCOPE = Scope("@default", "1 made-1", 1)
USERS = [f"user {number}" for number in range(30)]
HALVES = [{"name": "control", "share": 50}, {"name": "varied", "share": 50, "defaults": {"k": 3}}]


def experiment(name: str = "x") -> Experiment:
    return Experiment.model_validate(
        {"name": name, "salt": name, "since": "2026-01-01T00:00:00+00:00", "arms": HALVES}
    )


def answer_to(user_id: str, version: str = "made-1", request_id: str = "r") -> dict[str, Any]:
    return {"user_id": user_id, "model_version": version, "request_id": request_id}


@dataclass
class RecordedClick:
    user_id: str
    item_id: str
    request_id: str | None


class Unreliable:
    """The store, whose answers don't always come, or which is away."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.mode = "works"

    async def write(self, commands: Sequence[Any]) -> dict[int, str]:
        if self.mode == "away":
            raise StoreAway("gone")
        self.client.execute_command(*LOAD)
        for command in commands:
            self.client.execute_command(*command)
        if self.mode == "late":
            raise StoreAway("the answer didn't come")
        return {}


def test_what_is_sent_twice_is_counted_once(client: redis.Redis) -> None:
    store, lost = Unreliable(client), []
    exposures = Exposures(store, "worker", lost.append)  # type: ignore[arg-type]
    routed = route_experiment(experiment(), {})
    assert routed is not None
    for mode in ("late", "away", "late", "works"):
        arm = routed.arm_of("somebody")
        assert arm is not None
        exposures.note_shown(routed.scope, arm.name, answer_to("somebody"))
        store.mode = mode
        if mode == "works":
            asyncio.run(exposures.write(0))
        else:
            with pytest.raises(StoreError):
                asyncio.run(exposures.write(0))
    key = keys.experiment_key("x", shard_of(user_key("somebody")))
    counted = {k[1:].decode(): int(v) for k, v in client.hgetall(key).items() if k[:1] == b"m"}
    assert counted == {
        f"{group}:{moment}": value
        for group in (arm.name, f"{arm.name}@made-1")
        for moment, value in (("users", 1), ("exposures", 4), ("exposures_squared", 16))
    }
    assert lost == []


@pytest.mark.parametrize("mode", ["late", "away"])
def test_a_user_is_dropped_also_from_what_is_sent_again(client: redis.Redis, mode: str) -> None:
    store = Unreliable(client)
    exposures = Exposures(store, "worker", [].append)  # type: ignore[arg-type]
    for user in USERS:
        exposures.note_shown(Scope("x"), "a", answer_to(user))
    store.mode = mode
    with pytest.raises(StoreError):
        asyncio.run(exposures.write(0))
    assert exposures.user_ids == set(USERS)
    digest = user_key(USERS[0])
    key = keys.experiment_key("x", shard_of(digest))
    client.hdel(key, *fields_of(digest))
    exposures.drop({USERS[0]})
    assert exposures.user_ids == set(USERS[1:])
    store.mode = "works"
    asyncio.run(exposures.write(0))
    assert exposures.user_ids == set()
    shards = [client.hgetall(keys.experiment_key("x", shard)) for shard in range(N_SHARDS)]
    users = {field[1:] for shard in shards for field in shard if field[:1] == b"u"}
    assert users == {user_key(user) for user in USERS[1:]}
    shown = sum(int(shard.get(b"ma:exposures", 0)) for shard in shards)
    assert shown == (len(USERS) if mode == "late" else len(USERS) - 1)


def test_what_waits_for_the_store_is_bounded(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.deployment.exposures.MAX_USERS", 10)
    monkeypatch.setattr("app.deployment.exposures.MAX_CLICKS", 5)
    store, lost = Unreliable(client), []
    exposures = Exposures(store, "worker", lost.append)  # type: ignore[arg-type]
    routed = route_experiment(experiment(), {})
    assert routed is not None
    for user in USERS:
        arm = routed.arm_of(user)
        assert arm is not None
        exposures.note_shown(routed.scope, arm.name, answer_to(user))
    assert sum(lost) == 20
    clicks = [RecordedClick(USERS[0], f"i{number}", "r") for number in range(8)]
    asyncio.run(exposures.note_clicks(routed.scope, routed.arm_name_of, clicks))
    assert sum(lost) == 23
    asyncio.run(exposures.write(0))
    shards = [client.hgetall(keys.experiment_key("x", shard)) for shard in range(N_SHARDS)]
    counted = Counter[bytes]()
    for name, value in (entry for shard in shards for entry in shard.items()):
        if name[:1] == b"m" and b"@" not in name:
            counted[name.split(b":")[1]] += int(value)
    assert (counted[b"users"], counted[b"exposures"], counted[b"clicks"]) == (10, 10, 5)


class Rejecting:
    """A store that takes some iterations of the loop to say that it takes none of the counts."""

    def __init__(self) -> None:
        self.n_under_way = 0

    async def write(self, commands: Sequence[Any]) -> dict[int, str]:
        self.n_under_way += 1
        for _ in range(5):
            await asyncio.sleep(0)
        self.n_under_way -= 1
        return dict.fromkeys(range(len(commands)), "foreign")


def test_two_who_write_at_once_take_turns() -> None:
    """The second returns when what the first is writing is written, and nothing is lost twice."""
    store, lost = Rejecting(), []
    exposures = Exposures(store, "worker", lost.append)  # type: ignore[arg-type]
    n_users = AT_ONCE + 50
    for number in range(n_users):
        exposures.note_shown(Scope("x"), "a", answer_to(f"user {number}"))

    async def write() -> int:
        first = asyncio.create_task(exposures.write(0))
        await asyncio.sleep(0)
        await exposures.write(0)
        n_under_way = store.n_under_way
        await first
        return n_under_way

    assert asyncio.run(write()) == 0
    assert exposures.user_ids == set()
    assert sum(lost) == n_users


def test_clicks_are_remembered_up_to_a_bound(client: redis.Redis) -> None:
    client.execute_command(*LOAD)

    def click(batch: int, *items: int) -> int:
        seen = [("a", "somebody", Seen(clicks=[("r", f"i{item}") for item in items]))]
        client.execute_command(*count_command(Scope("x"), 0, ("w", batch), seen, 0))
        return int(client.hget(keys.experiment_key("x", 0), "ma:clicks") or 0)

    assert click(1, 1, 2, 1) == 2
    assert click(2, 2, 3) == 3
    assert click(2, 4) == 3  # the same batch
    assert click(3, *range(100, 100 + REMEMBERED_CLICKS)) == 3 + REMEMBERED_CLICKS
    assert click(4, 100, 100 + REMEMBERED_CLICKS - 1) == 3 + REMEMBERED_CLICKS
    assert click(5, 1) == 4 + REMEMBERED_CLICKS  # forgotten


def test_a_worker_without_an_arms_version_answers_nobody_by_the_experiment() -> None:
    with_version = experiment().model_dump()
    with_version["arms"][1]["version"] = "made-2"
    assert route_experiment(Experiment.model_validate(with_version), {}) is None
    assert route_experiment(None, {}) is None


def test_the_scripts_sums_are_those_of_the_statistics() -> None:
    assert MOMENTS == NAMES


def test_who_comes_while_others_are_written_waits_for_the_next_time() -> None:
    """A busy service would else send a batch for every few users, without an end."""

    class Busy:
        n_users = 0

        async def write(self, commands: list[Any]) -> dict[int, str]:
            self.n_users += sum((len(command) - 8) // 8 for command in commands)
            seen.note_shown(SCOPE, "", answer_to(f"later {self.n_users}"))
            return {}

    store = Busy()
    seen = Exposures(store, "w", [].append)  # type: ignore[arg-type]
    for number in range(AT_ONCE + 1):
        seen.note_shown(SCOPE, "", answer_to(f"user {number}"))
    asyncio.run(seen.write(0))
    assert len(seen.user_ids) == 1
    assert store.n_users >= AT_ONCE + 1
