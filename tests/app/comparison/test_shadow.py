"""A shadow answers a share of the requests unseen, and changes nothing for anybody."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app.deployment.routing import ShadowModel
from model_store import answer_pairs, keys
from model_store.answer_pairs import AnswerPair, keep_commands, read_pair
from model_store.bundle import Bundle
from model_store.deployment import Deployment
from model_store.embedded import EmbeddedStore
from model_store.errors import RegistryError
from model_store.forgotten import note_forgotten
from model_store.registry import Registry
from model_store.rollout import Rollout
from tests.app.conftest import (
    AS_ADMIN,
    publish_and_activate,
    service_of,
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
