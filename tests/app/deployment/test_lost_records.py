"""Without the records all names go on alike, with what this machine remembers of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from model_store.deployments import DEFAULT
from model_store.embedded import EmbeddedStore
from model_store.registry import Registry
from tests.app.conftest import service_of, serving, settings_for, wait_for
from tests.app.deployment.named_models import post

BOTH = {"version": "made-1", "names": {"shop": "made-2"}}
NO_STORE = "redis://127.0.0.1:1"


@pytest.fixture
def shop(good: str, second: str, client: redis.Redis) -> str:
    """A name under which another version than the default's is active."""
    Registry(client, model="shop").activate(second)
    return "shop"


@contextmanager
def put_away(folder: Path, version: str) -> Iterator[None]:
    """Within, the version's bundle isn't there."""
    bundle, away = folder / "bundles" / version, folder / "away"
    bundle.rename(away)
    yield
    away.rename(bundle)


def remembered(folder: Path) -> object:
    return json.loads((folder / "bundles" / "active.json").read_text())


def answers(http: TestClient, model: str) -> bool:
    answer = http.post("/recommend", json={"history": ["i1"], "model": model})
    return answer.status_code == 200


def test_a_name_stays_in_the_copy_until_it_is_loaded_again(
    shop: str, store: EmbeddedStore, folder: Path, client: redis.Redis
) -> None:
    """A service that is killed while it starts, and the store with it, takes no name away."""
    settings = settings_for(store.url, folder)
    with serving(settings) as http:
        assert answers(http, shop)
    assert remembered(folder) == BOTH
    with put_away(folder, "made-2"), serving(settings) as http:
        assert not answers(http, shop)
        assert remembered(folder) == BOTH
    # One that an operator ends while it isn't loaded goes from the copy all the same.
    with put_away(folder, "made-2"), serving(settings):
        Registry(client, model=shop).deactivate()
        wait_for(lambda: remembered(folder) == {"version": "made-1"})


def test_a_name_that_was_ended_while_no_service_ran_leaves_the_copy(
    shop: str, store: EmbeddedStore, folder: Path, client: redis.Redis
) -> None:
    settings = settings_for(store.url, folder)
    with serving(settings):
        pass
    Registry(client, model=shop).deactivate()
    with serving(settings):
        assert remembered(folder) == {"version": "made-1"}


@pytest.mark.parametrize("is_away", [False, True])
def test_a_recalled_name_is_tried_until_it_can_be_loaded(
    shop: str, store: EmbeddedStore, folder: Path, client: redis.Redis, is_away: bool
) -> None:
    with serving(settings_for(store.url, folder)):
        pass
    client.flushall()
    url = NO_STORE if is_away else store.url
    settings = settings_for(url, folder, store_timeout_ms=50 if is_away else 5_000)
    with serving(settings) as http:
        assert answers(http, shop)
    bundle, away = folder / "bundles" / "made-2", folder / "away"
    bundle.rename(away)
    with serving(settings) as http:
        assert answers(http, DEFAULT)
        assert not answers(http, shop)
        away.rename(bundle)
        wait_for(lambda: answers(http, shop))
        models = service_of(http).models
        assert models.versions.rejected == {}
        # A download takes neither from the cache of bundles at a URL.
        wait_for(lambda: models._folders.spared == {"made-1", "made-2"})


def test_the_trials_of_all_names_end_with_their_records(
    shop: str,
    store: EmbeddedStore,
    folder: Path,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(settings_for(store.url, folder)) as http:
        routings = service_of(http).models.routings
        assert post(http, "made-2/canary", DEFAULT, {"percent": 50}).status_code == 200
        assert post(http, "made-1/canary", shop, {"percent": 50}).status_code == 200
        assert all(routing.trial for _, routing in routings)
        client.flushall()
        wait_for(lambda: not any(routing.trial for _, routing in routings))
        assert routings.versions == {DEFAULT: "made-1", shop: "made-2"}
        assert {routing.period for _, routing in routings} == {None}
        # Once for each, however often the store is looked at.
        wait_for(lambda: service_of(http).models.loaded == ("made-1", "made-2"))
        lines = [one.message for one in caplog.records if "was lost" in one.message]
        assert lines == [
            "the deployment record of default was lost; ended: the canary",
            "the deployment record of shop was lost; ended: the canary",
        ]
