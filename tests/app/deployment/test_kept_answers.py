"""What people are answered reaches the log of exposures, where that is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from app import service
from model_store.bundle import Bundle
from model_store.deployments import DEFAULT
from model_store.embedded import EmbeddedStore
from model_store.errors import StoreError
from model_store.exposure_log import (
    Exposure,
    exposure_keys,
    exposures_of,
)
from model_store.people import export, forget
from tests.app.conftest import (
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.deployment.named_models import post
from tests.app.telemetry.test_metrics import metric
from tests.exposures import logged


@pytest.fixture
def http(
    client: redis.Redis, store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path
) -> Iterator[TestClient]:
    publish_and_activate(synthetic_bundle, folder, store.url)
    with serving(
        settings_for(store.url, folder).model_copy(update={"exposure_share": 1.0})
    ) as http:
        yield http


def ask(http: TestClient, request_id: str = "", **request: Any) -> dict[str, Any]:
    headers = {"X-Request-ID": request_id} if request_id else {}
    answer: dict[str, Any] = http.post("/recommend", json=request, headers=headers).json()
    return answer


def test_an_answer_is_kept_as_it_was_given(http: TestClient, client: redis.Redis) -> None:
    answer = ask(http, "r-1", user_id="u1", k=3)
    wait_for(lambda: len(logged(client)) == 1)
    [shown] = exposures_of("u1", client)
    assert shown.at_s > 1.7e9
    assert shown == Exposure(
        *("r-1", "u1", shown.at_s, "made-1", "", "model"),
        tuple(item["item_id"] for item in answer["items"]),
    )
    assert len(shown.item_ids) == 3


def test_each_answer_of_a_batch_and_those_to_nobody_are_kept(
    http: TestClient, client: redis.Redis
) -> None:
    requests = [{"user_id": "u1", "k": 2}, {"k": -1}, {"history": ["i1"], "k": 2}]
    assert http.post("/recommend/batch", json={"requests": requests}).status_code == 200
    wait_for(lambda: len(logged(client)) == 2)
    assert {shown.user_id for shown in logged(client)} == {"u1", None}
    assert {len(shown.item_ids) for shown in logged(client)} == {2}


def test_each_answer_has_the_name_it_was_given_under(http: TestClient, client: redis.Redis) -> None:
    assert post(http, "made-1/activate", "films").status_code == 200
    ask(http, user_id="u1", model="films")
    ask(http, user_id="u2", model=DEFAULT)
    ask(http, user_id="u3")
    requests = [{"user_id": "u4", "model": "films"}, {"user_id": "u5", "k": -1}, {"user_id": "u6"}]
    http.post("/recommend/batch", json={"requests": requests})
    wait_for(lambda: any(shown.user_id == "u6" for shown in logged(client)))
    names = {shown.user_id: shown.model for shown in logged(client) if shown.user_id}
    expected = {"u1": "films", "u2": DEFAULT, "u3": DEFAULT, "u4": "films", "u6": DEFAULT}
    assert names == expected


def test_a_forgotten_person_is_out_of_the_log(
    http: TestClient, client: redis.Redis, folder: Path
) -> None:
    for user_id in ("u1", "u1", "u2"):
        ask(http, user_id=user_id)
    wait_for(lambda: len(logged(client)) == 3)
    assert len(export("u1", client, folder / "bundles")["exposures"]) == 2
    assert forget("u1", client).exposures == 2
    assert [shown.user_id for shown in logged(client)] == ["u2"]


def test_no_answer_is_kept_unless_wanted(own_http: TestClient, client: redis.Redis) -> None:
    ask(own_http, user_id="u1")
    assert client.exists(*exposure_keys()) == 0
    assert re.search(
        r"^longtail_exposures_lost_total 0\.0$", own_http.get("/metrics").text, re.MULTILINE
    )


def test_answers_that_wait_for_the_store_are_told(
    http: TestClient, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable() -> None:
        raise StoreError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(service_of(http).forgetting, "look", unreadable)
        for _ in range(3):
            ask(http, user_id="u1")
        wait_for(lambda: metric(http, "longtail_exposures_waiting") == 3)
        assert logged(client) == []
    wait_for(lambda: metric(http, "longtail_exposures_waiting") == 0)
    assert len(logged(client)) == 3


def test_answers_are_written_in_the_end_though_counts_cannot_be(
    client: redis.Redis,
    store: EmbeddedStore,
    synthetic_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def rejected(_: int) -> None:
        raise StoreError("the store rejects the script")

    publish_and_activate(synthetic_bundle, folder, store.url)
    settings = settings_for(store.url, folder).model_copy(update={"exposure_share": 1.0})
    monkeypatch.setattr(service, "EXPOSURES_WRITE_S", 60.0)
    with serving(settings) as http:
        monkeypatch.setattr(service_of(http).exposures, "write", rejected)
        ask(http, "r-1", user_id="u1")
        assert logged(client) == []
    assert [shown.request_id for shown in logged(client)] == ["r-1"]
