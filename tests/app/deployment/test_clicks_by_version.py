"""Clicks per exposure by version, from answers and events over HTTP: alone, canary, experiment."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.deployment.routing import SAMPLED, is_sampled, period_of, route
from app.experiments.moments import Moments, UserSums
from model_store import keys
from model_store.bundle import Bundle
from model_store.deployment import Deployment
from model_store.embedded import EmbeddedStore
from model_store.experiment_counts import (
    LOAD,
    REMEMBERED_ANSWERS,
    Scope,
    Seen,
    count_command,
    fields_of,
    shard_of,
    user_key,
)
from model_store.experiment_sums import shards_commands, shards_of
from model_store.exposure_log import exposures_of
from model_store.forgotten import note_forgotten
from model_store.people import export, forget
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    service_of,
    wait_for,
)
from tests.app.deployment.conftest import serving_two_versions
from tests.app.deployment.experiment_calls import (
    HALVES,
    USERS,
    admin,
    ask,
    click,
    clicks_by_version,
    report,
)

SOME = USERS[:60]
MANY = [f"person {number}" for number in range(2_000)]
OF_SAMPLE = [user for user in MANY if is_sampled(user)]


@pytest.fixture(scope="module")
def logging_pair(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[TestClient]]:
    """Two services that keep exposures, on one store with a second version."""
    folder = tmp_path_factory.mktemp("clicks")
    with serving_two_versions(store, synthetic_bundle, folder, exposure_share=1.0) as services:
        yield services


@pytest.fixture
def both(logging_pair: list[TestClient]) -> list[TestClient]:
    """The two, with made-1 alone, in a period of the test's own."""
    for version in ("made-2", "made-1"):
        change(logging_pair, version, "activate")
    return logging_pair


def change(services: Sequence[TestClient], version: str, what: str, **body: Any) -> None:
    url = f"/admin/models/{version}/{what}"
    answer = services[0].post(url, headers=AS_ADMIN, json=body or None)
    assert answer.status_code == 200, answer.text
    for service in services:
        wait_for(lambda service=service: follows(service))  # type: ignore[misc]


def follows(http: TestClient) -> bool:
    """Whether a service answers as the deployment record says."""
    service = service_of(http)
    deployments, _ = http.portal.call(service.operations.deployments)  # type: ignore[union-attr]
    routing, wanted = service.models.routing, period_of("default", deployments.default)
    assert routing is not None
    assert wanted is not None
    return routing.period is not None and routing.period.period == wanted.period


def test_a_version_alone(both: list[TestClient]) -> None:
    assert clicks_by_version(both) == {
        "model": "default", "since": None, "share": SAMPLED, "confidence": 0.95, "versions": [],
    }  # fmt: skip
    sums: dict[str, UserSums] = {}
    asked = [*OF_SAMPLE[:60], *itertools.islice(itertools.filterfalse(is_sampled, MANY), 20)]
    for number, user in enumerate(asked):
        answers = [ask(both[turn % 2], user).json() for turn in range(1 + number % 3)]
        click(both[number % 2], answers[-1], *range(1, 1 + number % 4))
        click(both[1], answers[-1], *range(1, 1 + number % 4))  # again, at another worker
        if is_sampled(user):
            sums[user] = UserSums(len(answers), number % 4)
    batch = {"requests": [{"user_id": user} for user in asked]}
    assert both[0].post("/recommend/batch", json=batch).status_code == 200
    sums = {user: UserSums(one.exposures + 1, one.clicks) for user, one in sums.items()}
    # They follow no answer, or another person's.
    stray = ask(both[0], OF_SAMPLE[-1]).json()
    click(both[0], {**stray, "user_id": asked[0]}, 1)
    click(both[0], {**stray, "request_id": "never-answered"}, 1)
    both[0].post("/events", json={"user_id": asked[1], "item_id": "i1"})

    found = clicks_by_version(both)
    [row] = found["versions"]
    expected = Moments.of([*sums.values(), UserSums(1, 0)])
    assert (row["version"], row["arm"], row["effect"]) == ("made-1", "", None)
    counted = (row["users"], row["exposures"], row["clicks"])
    assert counted == (expected.users, expected.exposures, expected.clicks)
    assert row["rate"] == expected.clicks / expected.exposures
    assert row["low"] < row["rate"] < row["high"]
    assert found["since"].endswith("+00:00")


def test_the_sample_of_users_is_as_large_as_it_says() -> None:
    # Three standard errors of a share of 1/8.
    assert abs(len(OF_SAMPLE) / len(MANY) - SAMPLED) < 3 * (SAMPLED * (1 - SAMPLED) / 2_000) ** 0.5
    assert is_sampled("\ud800") in (True, False)  # half a character is no error


def test_a_canary_beside_the_active_version(both: list[TestClient]) -> None:
    earlier = [ask(both[0], user).json() for user in SOME]
    change(both, "made-2", "canary", percent=50)
    shown: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for number, user in enumerate(SOME):
        for turn in range(2):
            answer = ask(both[turn], user).json()
            shown[answer["model_version"], user][0] += 1
            if number % 3 == 0 or answer["model_version"] == "made-2":
                click(both[1 - turn], answer, 1)
                shown[answer["model_version"], user][1] += 1
    # An answer of before the canary: none of either.
    for answer in earlier:
        click(both[0], answer, 2)
    found = clicks_by_version(both)["versions"]
    assert [row["version"] for row in found] == ["made-1", "made-2"]
    for row in found:
        own = [UserSums(*sums) for (version, _), sums in shown.items() if version == row["version"]]
        of_version = Moments.of(own)
        counted = (row["users"], row["exposures"], row["clicks"])
        assert counted == (of_version.users, of_version.exposures, of_version.clicks)
    assert found[1]["rate"] == 1
    assert found[1]["effect"]["difference"] == 1 - found[0]["rate"]
    assert found[1]["effect"]["low"] > 0

    change(both, "made-2", "promote")
    assert clicks_by_version(both)["versions"] == []  # begins anew


def test_arms_are_told_apart_and_a_canary_in_them(
    both: list[TestClient], request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    assert admin(both[0], "POST", "", {"name": name, "arms": HALVES}).status_code == 200
    try:
        first = [ask(both[0], user).json() for user in USERS[:90]]
        change(both, "made-2", "canary", percent=50)
        second = [ask(both[1], user).json() for user in USERS[:90]]
        # Answers of before are still clicked, at whichever worker.
        for number, answer in enumerate([*first, *second]):
            if number % 3 == 0:
                click(both[number % 2], answer, 1)
        told, now = report(both[0], name, *both), clicks_by_version(both)
    finally:
        admin(both[0], "DELETE", f"/{name}")

    def counts(answers: list[dict[str, Any]], arm: str, version: str) -> tuple[int, int]:
        own = [
            number
            for number, one in enumerate(answers)
            if (one["arm"], one["model_version"]) == (arm, version)
        ]
        return len(own), sum(number % 3 == 0 for number in own)

    versions = ("made-1", "made-2")
    for arm in told["arms"]:
        found = {one["version"]: (one["exposures"], one["clicks"]) for one in arm["versions"]}
        every = [*first, *second]
        assert found == {version: counts(every, arm["name"], version) for version in versions}
        assert arm["clicks"] == sum(clicks for _, clicks in found.values())
        assert arm["low"] < arm["rate"] < arm["high"]
        assert arm["versions"][0]["low"] < arm["versions"][0]["high"]
    pairs = [(row["arm"], row["version"]) for row in now["versions"]]
    assert pairs == list(itertools.product(("control", "varied"), versions))
    for row in now["versions"]:
        # len(first) is a multiple of 3, so numbers begin anew alike.
        found = (row["exposures"], row["clicks"])
        assert found == counts(second, row["arm"], row["version"])
        assert (row["effect"] is None) == (row["version"] == "made-1")


def test_a_forgotten_person_is_counted_by_no_version(
    both: list[TestClient], store: EmbeddedStore, tmp_path: Path
) -> None:
    anna = OF_SAMPLE[0]
    ask(both[0], anna)
    clicks_by_version(both)
    with connect(store.url) as client:
        assert export(anna, client, tmp_path)["clicks_by_version"] == ["default"]
        assert forget(anna, client).counts == 1
        assert export(anna, client, tmp_path)["clicks_by_version"] == []


def test_who_is_forgotten_before_a_write_is_in_none(
    both: list[TestClient], store: EmbeddedStore
) -> None:
    anna = OF_SAMPLE[0]
    user, service = user_key(anna), service_of(both[0])
    ask(both[0], anna)
    with connect(store.url) as client:
        forget(anna, client)
        for write in (service.write_counts, service.write_exposure_log):
            both[0].portal.call(write)  # type: ignore[union-attr]
        key = keys.experiment_key("@default", shard_of(user))
        assert not any(client.hexists(key, field) for field in fields_of(user))
        assert not list(exposures_of(anna, client))


def test_who_is_forgotten_between_the_look_and_the_write_is_in_none(
    both: list[TestClient], store: EmbeddedStore
) -> None:
    anna = OF_SAMPLE[0]
    user, service = user_key(anna), service_of(both[0])

    async def forget_after_the_look(client: redis.Redis) -> None:
        await service.forgetting.look()
        forget(anna, client)
        await service.exposures.write(service.forgetting.read_up_to or 0)

    ask(both[0], anna)
    with connect(store.url) as client:
        both[0].portal.call(forget_after_the_look, client)  # type: ignore[union-attr]
        key = keys.experiment_key("@default", shard_of(user))
        assert not any(client.hexists(key, field) for field in fields_of(user))


def test_a_version_that_answers_again_begins_anew(both: list[TestClient]) -> None:
    ask(both[0], OF_SAMPLE[0])
    assert clicks_by_version(both)["versions"]
    change(both, "made-2", "activate")
    change(both, "made-1", "activate")
    found = clicks_by_version(both)
    assert (found["since"], found["versions"]) == (None, [])


def test_a_worker_that_missed_a_version_between_is_in_the_new_period(
    both: list[TestClient],
) -> None:
    routing = service_of(both[0]).models.routing
    assert routing is not None
    model, record = routing.active, Deployment()
    routings = []
    for version in (model.version, "made-2", model.version):
        record = record.activating(version).changed_from(record, "activate", "anna", "a test")
        routings.append(route("m", record, model, {}))
    first, _, last = routings
    assert not last.is_as(first)
    ruled = record.ruled([], "anna").changed_from(record, "rule", "anna", "a test")
    assert route("m", ruled, model, {}).is_as(last)


# --- the script ---------------------------------------------------------------------------------

USER = "somebody"


def sums(client: redis.Redis, name: str) -> dict[str, int]:
    key = f"lt:experiment:{name}:0"
    counted = client.hgetall(key)
    return {
        field[1:].decode(): int(value)
        for field, value in counted.items()
        if field[:1] == b"m" and field.endswith((b":exposures", b":clicks"))
    }


def count(client: redis.Redis, scope: Scope, worker: str, batch: int, seen: Seen) -> int:
    client.execute_command(*LOAD)
    command = count_command(scope, 0, (worker, batch), [("a", USER, seen)], 0)
    return int(client.execute_command(*command))


def shown(*answers: tuple[str, str]) -> Seen:
    seen = Seen()
    for version, request_id in answers:
        seen.note(version, request_id)
    return seen


def test_a_click_waits_for_its_answer(client: redis.Redis) -> None:
    scope = Scope("x")
    count(client, scope, "w1", 1, Seen(clicks=[("r1", "i1"), ("r2", "i1")]))
    assert sums(client, "x") == {"a:clicks": 2}
    count(client, scope, "w2", 1, shown(("v1", "r1")))
    count(client, scope, "w2", 2, shown(("v2", "r2"), ("v2", "r3")))
    assert sums(client, "x") == {
        "a:clicks": 2, "a:exposures": 3,
        "a@v1:clicks": 1, "a@v1:exposures": 1, "a@v2:clicks": 1, "a@v2:exposures": 2,
    }  # fmt: skip


def test_who_was_forgotten_since_the_look_is_not_counted(client: redis.Redis) -> None:
    client.execute_command(*LOAD)
    note_forgotten("gone", client)
    [(_, at)] = client.zrange(keys.FORGOTTEN, 0, -1, withscores=True)  # type: ignore[misc]
    for batch, looked_at_us, n_counted in ((1, int(at) - 1, 2), (2, int(at), 6)):
        seen = [("a", who, shown(("v1", "r1"), ("v2", f"r{batch}"))) for who in ("gone", USER)]
        client.execute_command(*count_command(Scope("x"), 0, ("w", batch), seen, looked_at_us))
        assert sums(client, "x")["a:exposures"] == n_counted
        is_known = client.hexists("lt:experiment:x:0", fields_of(user_key("gone"))[0])
        assert is_known == (batch == 2)  # what they did afterwards counts


def test_a_click_on_an_answer_of_long_ago_is_no_versions(client: redis.Redis) -> None:
    scope, later = Scope("x"), [("v1", f"r{number}") for number in range(1 + REMEMBERED_ANSWERS)]
    count(client, scope, "w", 1, shown(*later[:2]))
    count(client, scope, "w", 2, shown(*later[2:]))
    count(client, scope, "w", 3, Seen(clicks=[("r0", "i1"), ("r1", "i1")]))
    assert sums(client, "x")["a@v1:clicks"] == 1
    assert sums(client, "x")["a@v1:exposures"] == 1 + REMEMBERED_ANSWERS


def test_a_later_period_replaces_an_earlier_one_whose_counts_end(client: redis.Redis) -> None:
    before, after = Scope("@m", "v1  ", 3), Scope("@m", "v2  ", 5)
    assert count(client, before, "w1", 1, shown(("v1", "r1"))) == 1
    assert count(client, after, "w2", 1, shown(("v2", "r2"))) == 1
    assert count(client, before, "w1", 2, shown(("v1", "r3"))) == 0  # a worker that is behind
    assert count(client, after._replace(generation=6), "w3", 1, shown(("v2", "r4"))) == 1
    assert sums(client, "@m") == {"a:exposures": 2, "a@v2:exposures": 2}


def test_a_period_has_no_beginning_before_something_was_shown(client: redis.Redis) -> None:
    def since_s() -> int | None:
        replies = [client.execute_command(*command) for command in shards_commands(scope.name)]
        return shards_of(scope, replies).since_s

    scope = Scope("@m", "3 v1  ", 3)
    count(client, scope, "w", 1, Seen(clicks=[("r1", "i1")]))
    assert since_s() is None
    count(client, scope, "w", 2, shown(("v1", "r2")))
    assert since_s() is not None
