"""A shadow answers a share of the requests unseen, and changes nothing for anybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.comparison import shadow as shadow_module
from app.comparison.shadow import MAX_WAITING, ShadowQueue
from app.deployment.routing import ShadowModel
from model_store import answer_pairs, keys
from model_store.answer_pairs import AnswerPair, keep_commands, read_pair
from model_store.bundle import Bundle
from model_store.deployment import Deployment
from model_store.embedded import EmbeddedStore
from model_store.errors import RegistryError, StoreAway
from model_store.forgotten import note_forgotten
from model_store.registry import Registry
from model_store.rollout import Rollout
from tests.app.conftest import (
    AS_ADMIN,
    PATIENCE_S,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.synthetic_bundle import make_catalogue

USERS = [f"u{number}" for number in range(1, 13)]


def wait_until_counted(http: TestClient) -> None:
    """Until nobody's request waits or is being answered: a pair is kept before it is counted."""
    wait_for(lambda: not service_of(http).shadow.user_ids)


def set_shadow(http: TestClient, version: str, share: object) -> Any:
    body = {"share": share}
    return http.post(f"/admin/models/{version}/shadow", headers=AS_ADMIN, json=body)


def ask(http: TestClient, body: dict[str, object], request_id: str | None = None) -> dict[str, Any]:
    headers = {"X-Request-ID": request_id} if request_id else {}
    response = http.post("/recommend", json=body, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def outcomes(http: TestClient) -> dict[str, float]:
    """Those that there were; the metrics have all of them from the beginning."""
    text = http.get("/metrics").text
    found = re.findall(r'^longtail_shadow_total\{outcome="(\w+)"\} (\S+)', text, re.MULTILINE)
    return {outcome: float(n) for outcome, n in found if float(n)}


def read_pairs(client: redis.Redis, a: str, b: str) -> list[AnswerPair]:
    documents: Any = client.lrange(keys.answer_pairs_key(a, b), 0, -1)
    return [pair for document in documents if (pair := read_pair(document)) is not None]


def pairs_of(client: redis.Redis) -> list[AnswerPair]:
    return read_pairs(client, "made-1", "made-2")


def test_a_shadow_answers_after_the_answer_and_both_are_kept(
    own_http: TestClient, second: str, client: redis.Redis
) -> None:
    before = {user: ask(own_http, {"user_id": user, "k": 5})["items"] for user in USERS}
    assert set_shadow(own_http, second, 100).json() == {"version": second, "share": 100.0}
    deployment = own_http.get("/admin/deployment", headers=AS_ADMIN).json()
    assert deployment["shadow"].keys() == {"version", "share", "since"}
    assert deployment["workers"][0]["loaded"] == ["made-1", second]
    listed = own_http.get("/admin/models", headers=AS_ADMIN).json()["models"]
    assert [one["state"] for one in listed] == ["serving", "shadow"]
    for n, user in enumerate(USERS, start=1):
        answer = ask(own_http, {"user_id": user, "k": 5})
        assert (answer["items"], answer["model_version"]) == (before[user], "made-1")
        wait_for(lambda n=n: len(pairs_of(client)) == n)
    kept = {pair.user_id: pair for pair in pairs_of(client)}
    wait_until_counted(own_http)
    assert outcomes(own_http) == {"answered": len(USERS)}
    counted = own_http.get("/metrics").text
    assert f'version="{second}"' not in counted.replace("longtail_model_workers", "")

    # What the shadow would have answered, had it been asked.
    assert set_shadow(own_http, second, 0).json() == {"version": second, "share": 0.0}
    assert own_http.get("/admin/deployment", headers=AS_ADMIN).json()["shadow"] is None
    own_http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN)
    for user, pair in kept.items():
        answer = ask(own_http, {"user_id": user, "k": 5})
        assert answer["model_version"] == second
        assert pair.b == tuple(item["item_id"] for item in answer["items"])
        assert pair.a == tuple(item["item_id"] for item in before[user])
        assert pair.n_interactions == len(make_catalogue(seed=8).histories[user])
        assert pair.b_ms > 0


def test_all_of_a_request_counts_for_the_shadow_but_its_deadline(
    own_http: TestClient, second: str, client: redis.Redis
) -> None:
    set_shadow(own_http, second, 100)
    body = {
        "history": ["i3", "i9"], "k": 4, "exclude": ["i1"], "deadline_ms": 1,
        "filters": {"genres": {"any": ["drama"]}}, "diversity": 0.5,
    }  # fmt: skip
    ask(own_http, body)
    wait_for(lambda: len(pairs_of(client)) == 1)
    set_shadow(own_http, second, 0)
    own_http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN)
    [pair] = pairs_of(client)
    answer = ask(own_http, body)
    assert pair.b == tuple(item["item_id"] for item in answer["items"])
    assert (pair.user_id, pair.n_interactions) == (None, 2)


def test_the_share_is_of_the_requests_and_by_their_ids(
    own_http: TestClient, second: str, client: redis.Redis
) -> None:
    model = service_of(own_http).models.current
    some = ShadowModel(replace(model, version=second), 20)
    more = ShadowModel(replace(model, version=second), 50)
    ids = [f"request-{number}" for number in range(500)]
    taken = {one for one in ids if some.takes(one)}
    assert 60 <= len(taken) <= 140  # 100 expected; four standard deviations and more
    assert taken < {one for one in ids if more.takes(one)}

    set_shadow(own_http, second, 20)
    [first, *_] = sorted(taken)
    left = next(one for one in ids if one not in taken)
    ask(own_http, {"user_id": "u1"}, left)
    ask(own_http, {"user_id": "u2"}, first)
    wait_for(lambda: len(pairs_of(client)) == 1)
    assert [pair.user_id for pair in pairs_of(client)] == ["u2"]
    wait_until_counted(own_http)
    assert outcomes(own_http) == {"answered": 1}


def test_it_ends_when_its_version_answers_users(own_http: TestClient, second: str) -> None:
    set_shadow(own_http, second, 10)
    own_http.post(f"/admin/models/{second}/canary", headers=AS_ADMIN, json={"percent": 5})
    assert own_http.get("/admin/deployment", headers=AS_ADMIN).json()["shadow"] is None
    rejected = set_shadow(own_http, second, 10)
    assert rejected.status_code == 409
    assert "is the canary and answers users itself" in rejected.json()["detail"]
    own_http.post(f"/admin/models/{second}/canary", headers=AS_ADMIN, json={"percent": 0})
    set_shadow(own_http, second, 10)
    own_http.post(f"/admin/models/{second}/activate", headers=AS_ADMIN)
    found = own_http.get("/admin/deployment", headers=AS_ADMIN).json()
    assert (found["active"], found["shadow"]) == (second, None)


def test_a_change_that_makes_no_sense_is_rejected(own_http: TestClient, second: str) -> None:
    for version, share, status, said in (
        ("made-1", 5, 409, "is active and answers users itself"),
        ("nothing", 5, 404, "'nothing' is not published"),
        ("made-2", 0, 409, "'made-2' is not the shadow (there is none)"),
        ("made-2", 101, 422, "share: Input should be less than or equal"),
        ("made-2", -1, 422, "share: Input should be greater than"),
        ("made-2", "many", 422, "share: Input should be a valid number"),
    ):
        answer = set_shadow(own_http, version, share)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]


def test_a_shadow_is_not_retired_and_its_answers_go_with_it(
    client: redis.Redis, synthetic_bundle: Bundle, folder: Path, store: EmbeddedStore, second: str
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    to_all = Rollout(client, folder / "bundles", "a test")
    assert to_all.shadow(second, 10) == 10
    with pytest.raises(RegistryError, match="is the shadow; end that first"):
        to_all.retire(second)
    since = Registry(client).deployment().shadow
    to_all.shadow(second, 20)
    shadow = Registry(client).deployment().shadow
    assert shadow is not None
    assert since is not None
    assert (shadow.share, shadow.since) == (20, since.since)
    pair = AnswerPair(user_id="u1", n_interactions=1, a=("i1",), b=("i2",), a_ms=1, b_ms=1)
    for command in keep_commands("made-1", second, [pair]):
        client.execute_command(*command)
    assert client.ttl(keys.answer_pairs_key("made-1", second)) > 0
    to_all.shadow(second, 0)
    to_all.retire(second)
    assert client.keys(keys.version_pattern(second)) == []


def test_a_limited_number_is_kept_and_foreign_values_are_ignored(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_pairs, "MAX_PAIRS", 3)
    for number in range(5):
        pair = AnswerPair(user_id=f"u{number}", n_interactions=1, a=(), b=("ä",), a_ms=1, b_ms=1)
        for command in keep_commands("v1", "v2", [pair]):
            client.execute_command(*command)
    assert [pair.user_id for pair in read_pairs(client, "v1", "v2")] == ["u4", "u3", "u2"]
    client.lpush(keys.answer_pairs_key("v1", "v2"), b"{}", b"\xff")
    assert [pair.user_id for pair in read_pairs(client, "v1", "v2")] == ["u4", "u3", "u2"]
    assert read_pairs(client, "v2", "v1") == []


def test_an_older_record_has_no_shadow() -> None:
    assert Deployment.model_validate_json('{"generation": 3, "active": "v1"}').shadow is None


class Kept:
    """A store that keeps pairs, or fails."""

    def __init__(self) -> None:
        self.pairs: list[AnswerPair] = []
        self.error: Exception | None = None

    async def keep(self, _a: str, _b: str, pairs: Sequence[AnswerPair]) -> None:
        if self.error is not None:
            raise self.error
        self.pairs += pairs

    async def remove(self, _a: str, _b: str, pairs: Sequence[AnswerPair]) -> None:
        for pair in pairs:
            self.pairs.remove(pair)


class Busy:
    """A queue whose service has so many requests under way, with what became of its requests."""

    def __init__(self, http: TestClient) -> None:
        self.under_way = 1
        self.kept = Kept()
        self.counted: list[str] = []
        self.forgotten: set[str] = set()
        self.look_error: Exception | None = None
        service = service_of(http)
        self.model = service.models.current
        self.shadow: ShadowModel | None = ShadowModel(replace(self.model, version="made-2"), 100)
        self.queue = ShadowQueue(
            service.shadow._answers,
            self.kept,  # type: ignore[arg-type]
            lambda: self.under_way,
            lambda version: self.shadow is not None and version == self.shadow.model.version,
            self.counted.append,
            self.look,
        )

    async def look(self) -> None:
        if self.look_error is not None:
            raise self.look_error
        self.queue.drop(self.forgotten)

    def offer(self, *degraded: str, **changes: object) -> None:
        from app.http.requests import RecommendRequest

        answer = {
            "request_id": "r", "items": [{"item_id": "i1"}], "rerank": "skipped",
            "timings_ms": {"inference": 1.0}, "degraded": [*degraded],
        }  # fmt: skip
        query = RecommendRequest(history=["i1"], **changes)  # type: ignore[arg-type]
        assert self.shadow is not None
        self.queue.offer(self.shadow, query, self.model, answer)

    def work(self, until: int, under_way: int = 0) -> list[str]:
        async def go() -> None:
            self.queue.start()
            async with asyncio.timeout(PATIENCE_S):
                while len(self.counted) < until:
                    await asyncio.sleep(0.001)
            await self.queue.stop()

        self.under_way = under_way
        asyncio.run(go())
        return self.counted


@pytest.fixture(scope="module")
def standing(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("standing")
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def test_what_comes_while_others_are_under_way_is_dropped(standing: TestClient) -> None:
    busy = Busy(standing)
    busy.under_way = 2
    busy.offer()
    assert busy.counted == ["busy"]


def test_no_more_than_a_few_wait(standing: TestClient) -> None:
    busy = Busy(standing)
    for _ in range(MAX_WAITING + 2):
        busy.offer()
    assert busy.counted == ["full"] * 2
    assert busy.work(MAX_WAITING + 2)[2:] == ["answered"] * MAX_WAITING
    assert len(busy.kept.pairs) == MAX_WAITING


def test_of_those_answered_together_each_fails_alone(standing: TestClient) -> None:
    best = ask(standing, {"history": ["i1"]})["items"][0]["item_id"]
    busy = Busy(standing)
    busy.offer()
    busy.offer(filters={"colour": {"any": ["red"]}})
    busy.offer(exclude=[best])
    assert sorted(busy.work(3)) == ["answered", "answered", "failed"]
    assert [best in pair.b for pair in busy.kept.pairs] == [True, False]


def test_what_has_waited_for_long_is_dropped(
    standing: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "MAX_AGE_S", 0.05)
    busy = Busy(standing)
    busy.offer()
    assert busy.work(1, under_way=1) == ["busy"]
    assert busy.kept.pairs == []


def test_a_shadow_that_fails_is_counted_and_goes_on(
    standing: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> list[str]:
        return [one.message for one in caplog.records if one.name == shadow_module.__name__]

    busy = Busy(standing)
    busy.kept.error = StoreAway("the store is away")
    busy.offer()
    busy.offer(filters={"colour": {"any": ["red"]}})
    assert busy.work(2) == ["failed"] * 2
    assert logged() == []
    busy.kept.error = ValueError("nobody thought of this")
    busy.offer()
    busy.offer()
    assert busy.work(4) == ["failed"] * 4
    assert logged() == ["the shadow made-2 failed"]
    of_made_2 = busy.shadow
    busy.shadow = replace(of_made_2, model=replace(busy.model, version="made-3"))  # type: ignore[type-var]
    busy.offer()
    assert busy.work(5)[-1] == "failed"
    assert logged()[1:] == ["the shadow made-3 failed"]
    busy.kept.error, busy.shadow = None, of_made_2
    busy.offer()
    assert busy.work(6)[-1] == "answered"


def test_an_answer_without_the_history_is_not_compared(standing: TestClient) -> None:
    busy = Busy(standing)
    busy.offer("unknown_items:1")
    busy.offer("features")
    assert busy.work(2) == ["answered", "failed"]
    assert len(busy.kept.pairs) == 1


def test_nothing_is_kept_of_who_is_forgotten_meanwhile(standing: TestClient) -> None:
    busy = Busy(standing)
    for user in ("u1", "u2", "u3"):
        busy.offer(user_id=user)
    busy.queue.drop({"u1"})
    assert busy.queue.user_ids == {"u2", "u3"}
    busy.forgotten = {"u2"}  # while it is answered
    assert sorted(busy.work(2)) == ["answered", "failed"]
    assert [pair.user_id for pair in busy.kept.pairs] == ["u3"]
    assert busy.queue.user_ids == set()


def test_a_pair_of_somebody_who_is_forgotten_meanwhile_is_removed_again(
    own_http: TestClient, second: str, client: redis.Redis
) -> None:
    service = service_of(own_http)
    keep = service.shadow._pairs.keep

    async def keep_late(*given: Any) -> None:
        await keep(*given)
        note_forgotten("u1", client)

    service.shadow._pairs.keep = keep_late
    set_shadow(own_http, second, 100)
    ask(own_http, {"user_id": "u1"})
    wait_for(lambda: outcomes(own_http) == {"failed": 1})
    assert pairs_of(client) == []


def test_who_is_forgotten_is_found_by_a_later_look_where_one_failed(
    standing: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_module, "SETTLE_AGAIN_S", 0.01)
    busy = Busy(standing)
    for user in ("u1", "u2"):
        busy.offer(user_id=user)
    busy.look_error = StoreAway("the store is away")
    busy.forgotten = {"u1"}

    async def go() -> None:
        busy.under_way = 0
        busy.queue.start()
        async with asyncio.timeout(PATIENCE_S):
            while len(busy.counted) < 2:
                await asyncio.sleep(0.001)
            assert busy.queue.user_ids == {"u1", "u2"}
            busy.look_error = None
            while len(busy.kept.pairs) == 2:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert busy.counted == ["failed"] * 2
    assert [pair.user_id for pair in busy.kept.pairs] == ["u2"]
    assert busy.queue.user_ids == set()


@pytest.mark.parametrize("fails", [False, True])
def test_a_queue_that_ends_looks_at_what_it_has_just_kept(
    standing: TestClient, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    busy = Busy(standing)
    busy.offer(user_id="u1")
    busy.forgotten = {"u1"}
    keep = busy.kept.keep

    async def keep_late(*given: Any) -> None:
        await keep(*given)
        if fails:  # its answer is lost
            raise StoreAway("the store is away")
        await asyncio.sleep(60)

    monkeypatch.setattr(busy.kept, "keep", keep_late)

    async def go() -> None:
        busy.under_way = 0
        busy.queue.start()
        async with asyncio.timeout(PATIENCE_S):
            while not busy.kept.pairs:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert busy.kept.pairs == []


def test_a_queue_of_forgotten_people_alone_goes_on(standing: TestClient) -> None:
    busy = Busy(standing)
    busy.offer(user_id="u1")

    async def go() -> None:
        busy.under_way = 1
        busy.queue.start()
        await asyncio.sleep(0.2)  # it waits for the request under way
        busy.queue.drop({"u1"})
        busy.under_way = 0
        await asyncio.sleep(0.05)
        busy.offer(user_id="u2")
        async with asyncio.timeout(PATIENCE_S):
            while not busy.counted:
                await asyncio.sleep(0.001)
        await busy.queue.stop()

    asyncio.run(go())
    assert [pair.user_id for pair in busy.kept.pairs] == ["u2"]


def test_requests_of_a_shadow_that_has_ended_are_left(standing: TestClient) -> None:
    busy = Busy(standing)
    busy.offer()
    busy.shadow = replace(busy.shadow, model=replace(busy.model, version="made-3"))  # type: ignore[type-var]
    busy.offer()
    assert busy.work(1) == ["answered"]
    assert len(busy.kept.pairs) == 1
