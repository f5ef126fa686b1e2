"""Keys of callers and their quotas, where they are required."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app import service
from app.overload import quotas
from app.overload.quotas import WINDOW_S, Quotas
from app.store.server_client import ServerClient
from app.store.tokens import TokenStore
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import InputError, StoreError
from model_store.store import connect
from model_store.store_url import StoreUrl
from model_store.tokens import TokenRecord, Tokens
from tests.app.conftest import (
    AS_ADMIN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.telemetry.test_metrics import metric

OPEN = {"/health/live", "/health/ready", "/metrics"}
START_S = 60_000_000.0
"""The beginning of a minute, at which time stands still."""


@pytest.fixture(scope="module")
def clock() -> Iterator[list[float]]:
    now_s = [START_S]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotas, "time", lambda: now_s[0])
        patch.setattr(service, "SETTLE_S", 0.05)
        yield now_s


@pytest.fixture(scope="module")
def two(
    clock: list[float],
    store: EmbeddedStore,
    synthetic_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[TestClient, TestClient]]:
    """Two services on one store that require keys."""
    folder = tmp_path_factory.mktemp("keys")
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    settings = settings_for(store.url, folder, api_keys="required")
    with serving(settings) as one, serving(settings) as other:
        yield one, other


@pytest.fixture
def tokens(store: EmbeddedStore) -> Iterator[Tokens]:
    with connect(store.url) as client:
        yield Tokens(client)


def ask(http: TestClient, key: str | None, n_in_batch: int = 0) -> Any:
    body: dict[str, Any] = {"user_id": "u1"}
    path = "/recommend"
    if n_in_batch:
        path, body = "/recommend/batch", {"requests": [body] * n_in_batch}
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return http.post(path, json=body, headers=headers)


def new_key(two: tuple[TestClient, TestClient], tokens: Tokens, **of: Any) -> tuple[str, str]:
    """Id and key, known to both services."""
    record, key = tokens.create("call", **of)
    for http in two:
        wait_for(lambda http=http: record.id in service_of(http).quotas.callers)
    return record.id, key


def test_everything_of_callers_needs_a_key(
    two: tuple[TestClient, TestClient], tokens: Tokens
) -> None:
    """Also routes to come."""
    _, key = new_key(two, tokens)
    n_closed = 0
    document = two[0].get("/openapi.json").json()
    for path, operations in document["paths"].items():
        if path.startswith("/admin"):
            continue
        for method, operation in operations.items():
            answers = {
                given: two[0].request(
                    method, path, json={}, headers={"Authorization": given} if given else {}
                )
                for given in ("", f"Bearer {key}", f"Basic {key}", f"Bearer {key[:-1]}_")
            }
            is_open = path in OPEN
            n_closed += not is_open
            wrong = {answer.status_code for given, answer in answers.items() if key not in given}
            assert (wrong == {401}) != is_open, (method, path)
            assert answers[f"Bearer {key}"].status_code != 401
            assert ("401" in operation["responses"]) != is_open
            assert ("security" in operation) != is_open
    assert n_closed >= 4


def test_a_key_opens_nothing_of_operators(
    two: tuple[TestClient, TestClient], tokens: Tokens
) -> None:
    _, key = new_key(two, tokens)
    for method, needed in (("GET", "read"), ("POST", "operate")):
        path = "/admin/models" + ("/rollback" if method == "POST" else "")
        answer = two[0].request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403
        assert f"this needs '{needed}'" in answer.json()["detail"]
    _, operators = tokens.create("operate")
    for headers in (AS_ADMIN, {"Authorization": f"Bearer {operators}"}):
        assert two[0].post("/recommend", json={"user_id": "u1"}, headers=headers).status_code == 401


def test_a_key_is_revoked_without_a_restart(
    two: tuple[TestClient, TestClient], tokens: Tokens
) -> None:
    number, key = new_key(two, tokens)
    assert ask(two[0], key).status_code == 200
    tokens.revoke(number)
    wait_for(lambda: ask(two[0], key).status_code == 401)


def test_a_quota_is_of_a_minute_and_of_all_workers(
    two: tuple[TestClient, TestClient], tokens: Tokens, clock: list[float]
) -> None:
    one, other = two
    line = 'longtail_caller_rejections_total{reason="quota"}'
    before = metric(one, line) or 0.0
    _, key = new_key(two, tokens, per_minute=5)
    _, second = new_key(two, tokens, per_minute=1)
    assert ask(one, key, n_in_batch=4).status_code == 200
    assert ask(one, key).status_code == 200
    answer = ask(one, key)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == str(WINDOW_S)
    assert "5 requests a minute" in answer.json()["detail"]
    assert (metric(one, line) or 0.0) - before == 1
    wait_for(lambda: ask(other, key).status_code == 429)
    assert ask(other, second).status_code == 200
    clock[0] += WINDOW_S
    assert ask(one, key).status_code == 200


def test_without_the_setting_nothing_is_in_the_way(
    store: EmbeddedStore, client: redis.Redis, folder: Path
) -> None:
    with serving(settings_for(store.url, folder)) as http:
        assert service_of(http).quotas is None
        endpoints = http.app.outermost._shortcuts.values()  # type: ignore[attr-defined]
        assert [one for one in endpoints if "guarded" in one.__qualname__] == []
        assert ask(http, None).status_code == 503  # nothing is published
        assert "callerKey" not in http.get("/openapi.json").text


def test_before_keys_are_read_the_service_is_not_ready(folder: Path) -> None:
    settings = settings_for("redis://127.0.0.1:1/0", folder, api_keys="required")
    with serving(settings) as http:
        answer = ask(http, "lt_01234567_" + "x" * 43)
        assert answer.status_code == 503
        assert "keys" in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "1"


# --- the count of several workers --------------------------------------------------------


def workers_on(store: EmbeddedStore, n: int) -> list[Quotas]:
    client = ServerClient(StoreUrl.parse(store.url), timeout_s=5)
    return [Quotas(TokenStore(client)) for _ in range(n)]


def admit(worker: Quotas, caller: TokenRecord, n_asked: int) -> int:
    """How many of as many requests a worker lets through."""
    n_admitted = 0
    for _ in range(n_asked):
        if not worker.wait_s(caller):
            worker.count(caller, 1)
            n_admitted += 1
    return n_admitted


@pytest.mark.parametrize(("n_workers", "per_round"), [(1, 7), (3, 7), (4, 40)])
def test_a_quota_is_exceeded_by_what_other_workers_admit_between_two_settlements_at_most(
    store: EmbeddedStore, client: redis.Redis, clock: list[float], n_workers: int, per_round: int
) -> None:
    caller, _ = Tokens(client).create("call", per_minute=100)

    async def run() -> int:
        workers = workers_on(store, n_workers)
        n_admitted = 0
        for _ in range(30):
            for worker in workers:
                n_admitted += admit(worker, caller, per_round)
            for worker in workers:
                await worker.settle()
        return n_admitted

    n_admitted = asyncio.run(run())
    assert 100 <= n_admitted <= 100 + (n_workers - 1) * per_round
    if n_workers == 1:
        assert n_admitted == 100


def test_counts_that_could_not_be_settled_are_kept(
    store: EmbeddedStore, client: redis.Redis, clock: list[float]
) -> None:
    caller, _ = Tokens(client).create("call", per_minute=10)
    uses = keys.uses_key(int(clock[0]) // WINDOW_S)

    async def run() -> None:
        one, other = workers_on(store, 2)
        right, one._store._client = (
            one._store._client,
            ServerClient(StoreUrl.parse("redis://127.0.0.1:1/0"), timeout_s=1),
        )
        assert admit(one, caller, 4) == 4
        for _ in range(2):
            with pytest.raises(StoreError):
                await one.settle()
        assert admit(one, caller, 2) == 2
        one._store._client = right
        await one.settle()
        await other.settle()
        assert client.hgetall(uses) == {caller.id.encode(): b"6"}
        assert 0 < client.ttl(uses) <= 2 * WINDOW_S
        assert admit(other, caller, 10) == 4
        await other.settle()
        await one.settle()
        assert admit(one, caller, 1) == 0

    asyncio.run(run())


def test_a_settlement_over_the_end_of_a_minute_counts_for_the_old_one(
    store: EmbeddedStore, client: redis.Redis, clock: list[float]
) -> None:
    caller, _ = Tokens(client).create("call", per_minute=3)

    async def run() -> list[int]:
        [one] = workers_on(store, 1)
        admitted = [admit(one, caller, 5)]
        clock[0] += WINDOW_S
        await one.settle()
        admitted.append(admit(one, caller, 2))
        await one.settle()
        admitted.append(admit(one, caller, 5))
        return admitted

    assert asyncio.run(run()) == [3, 2, 1]
    assert len(list(client.scan_iter("lt:uses:*"))) == 2


def test_a_quota_is_for_callers_only(tokens: Tokens) -> None:
    with pytest.raises(InputError, match="--per-minute"):
        tokens.create("read", per_minute=5)
