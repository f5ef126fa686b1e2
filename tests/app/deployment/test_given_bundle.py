"""`longtail serve --bundle` on a store where other services answer."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from app.given_bundle import publish_and_activate
from app.settings import Settings
from model_store import keys
from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, RegistryError
from model_store.preparation import Preparing
from model_store.publication import publish
from model_store.registry import Registry
from tests.app.conftest import service_of, settings_for
from tests.app.deployment.conftest import version_of
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture
def settings(store: EmbeddedStore, folder: Path) -> Settings:
    """Of the service that starts: its store and its bundles are those of the other."""
    return settings_for(store.url, folder)


@pytest.fixture
def given(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))


def test_workers_of_other_services_answer_with_it_when_it_is_active(
    own_http: TestClient, given: Bundle, settings: Settings, client: redis.Redis
) -> None:
    assert publish_and_activate(given.folder, settings, settings.redis_url or "") == "made-2"
    assert version_of(own_http) == "made-2"
    entry = Registry(client).deployment().audit[0]
    assert (entry.what, entry.why) == (
        "activate made-2, before made-1",
        "longtail serve --bundle",
    )
    generation = Registry(client).deployment().generation
    publish_and_activate(given.folder, settings, settings.redis_url or "")
    assert Registry(client).deployment().generation == generation


def test_another_worker_that_cannot_load_it_keeps_all_with_their_version(
    own_http: TestClient, given: Bundle, settings: Settings, client: redis.Redis
) -> None:
    async def fail(_version: str) -> None:
        raise BundleError("too little memory here")

    service_of(own_http).models.versions._open = fail
    with pytest.raises(BundleError, match=r"so made-1 stays active: worker .* too little memory"):
        publish_and_activate(given.folder, settings, settings.redis_url or "")
    assert Registry(client).active() == version_of(own_http) == "made-1"


def test_it_waits_for_a_rollout_that_another_service_has_begun(
    own_http: TestClient, given: Bundle, settings: Settings, client: redis.Redis
) -> None:
    asked = Preparing(versions=("made-1",), token="t", who="eve@far", why="x")
    client.set(keys.PREPARING, asked.model_dump_json(), px=700)
    publish_and_activate(given.folder, settings, settings.redis_url or "")
    assert version_of(own_http) == "made-2"


def test_services_that_start_with_the_same_bundle_meet_in_one_version(
    good: str, given: Bundle, settings: Settings, client: redis.Redis
) -> None:
    publish(given, settings.bundles_dir, client)
    versions: list[str] = []

    def start() -> None:
        versions.append(publish_and_activate(given.folder, settings, settings.redis_url or ""))

    starts = [threading.Thread(target=start) for _ in range(3)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert versions == ["made-2"] * 3
    assert Registry(client).deployment().previous == (good,)


@pytest.fixture
def poor(tmp_path: Path) -> Bundle:
    """One with titles only."""
    catalogue = make_catalogue(seed=9)
    titles = catalogue.attributes.get("title")
    assert titles is not None
    attributes = ItemAttributes([titles], catalogue.attributes.n_items)
    with_titles = replace(catalogue, attributes=attributes)
    return make_bundle(tmp_path / "poor", version="poor", catalogue=with_titles)


def test_attributes_may_go_where_nobody_else_answers(
    good: str, poor: Bundle, settings: Settings
) -> None:
    assert publish_and_activate(poor.folder, settings, settings.redis_url or "") == "poor"


def test_attributes_may_not_go_where_callers_of_others_filter_by_them(
    own_http: TestClient, poor: Bundle, settings: Settings, client: redis.Redis
) -> None:
    publish(poor, settings.bundles_dir, client)
    registry = Registry(client)
    for _ in range(2):
        with pytest.raises(RegistryError, match="lacks attributes of 'made-1': year"):
            publish_and_activate(poor.folder, settings, settings.redis_url or "")
        # Records of earlier releases don't tell, so that the bundles have to.
        for record in registry.records():
            registry.add(record.model_copy(update={"attributes": None}))
    assert Registry(client).active() == version_of(own_http) == "made-1"
