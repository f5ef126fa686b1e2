"""Items that came after training: described, encoded and given to a service that runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

import longtail
from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError, InputError
from model_store.fresh_items import read_fresh
from model_store.knowledge_texts import KnowledgeSource
from model_store.publication import publish
from model_store.registry import Registry
from offline.fresh_items import add_fresh_items
from tests.app.conftest import publish_and_activate, serving, settings_for, wait_for
from tests.offline.knowledge.chat_endpoint import Endpoint, serving_endpoint
from tests.synthetic_bundle import make_bundle

SENTENCE = "people who enjoy it are kind and calm."
NEW = "".join(f"new {n},{title}\n" for n, title in enumerate(("a drama", "a western", "a comedy")))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def workplace(
    tmp_path: Path, store: EmbeddedStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder for bundles and the cache, and the store's address for the command line."""
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    (tmp_path / "items.csv").write_text(f"item_id,title\ni1,known\n{NEW}")
    return tmp_path


def activate(workplace: Path, url: str, **knowledge: object) -> None:
    """A version whose recipe has these settings of knowledge."""
    # The synthetic tokenizer pads nothing: texts are encoded one by one.
    recipe = {"description": "x", "knowledge": knowledge, "encoding": {"batch_size": 1}}
    configuration: dict[str, object] = {"recipe": recipe, "item_kind": "film"}
    bundle = make_bundle(workplace / "made", configuration=configuration)
    publish_and_activate(bundle, workplace, url)


def refresh(workplace: Path) -> int:
    return longtail.main(["knowledge", "refresh", "--items", str(workplace / "items.csv")])


def texts_in(http: TestClient) -> dict[str, str | None]:
    body = {"history": ["i3"], "k": 70, "exclude_seen": False, "fields": ["knowledge"]}
    items: list[dict[str, Any]] = http.post("/recommend", json=body).json()["items"]
    return {item["item_id"]: item["fields"]["knowledge"] for item in items}


def test_a_running_service_gets_described_items(
    workplace: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    endpoint: Endpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    activate(workplace, store.url, model="big-llm", base_url=endpoint.url)
    with serving(settings_for(store.url, workplace)) as http:
        assert refresh(workplace) == 0
        said = capsys.readouterr().out.splitlines()
        wait_for(lambda: http.get("/health/ready").json()["fresh_items"] == 3)
        texts = texts_in(http)
    assert [line.split("/")[-1] for line in said] == [
        "items.csv: 4 items, 3 of them new",
        "described: 3 written now, 0 written before, 0 not asked about",
        "made-1: 3 fresh items",
    ]
    assert len(endpoint.requests) == 3  # nothing is asked about the known item
    for number, title in enumerate(("a drama", "a western", "a comedy")):
        assert texts[f"new {number}"] == f"About Title: {title}: {SENTENCE}"
    [stored, *_] = read_fresh("made-1", 6, client)
    assert stored.attributes == {"title": "a drama"}
    assert stored.knowledge is not None
    assert stored.knowledge.source.model_dump() == {
        "model": "big-llm",
        "prompt": "v1",
        "aligned": False,
    }
    assert stored.knowledge.made_on == datetime.now(UTC).date()


def test_a_second_run_finds_nothing_new(
    workplace: Path, store: EmbeddedStore, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    activate(workplace, store.url, model="big-llm", base_url=endpoint.url)
    assert refresh(workplace) == refresh(workplace) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{workplace / 'items.csv'}: 4 items, 0 of them new",
        "made-1: 0 fresh items",
    ]
    assert len(endpoint.requests) == 3


def test_an_interrupted_run_goes_on_where_it_stopped(
    workplace: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    endpoint: Endpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    activate(workplace, store.url, model="big-llm", base_url=endpoint.url, concurrency=1)
    with (workplace / "items.csv").open("a") as file:
        file.write("new 3,a romance\nnew 4,x\n")  # the shortest text, after a batch of four
    endpoint.troubles = [None] * 4 + [401]
    assert refresh(workplace) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "status 401" in error
    assert client.exists(keys.fresh_key("made-1")) == 0
    assert refresh(workplace) == 0
    assert "1 written now, 4 written before" in capsys.readouterr().out
    assert len(endpoint.requests) == 6
    assert len(read_fresh("made-1", 6, client)) == 5


def test_without_a_language_model_there_is_nothing_to_refresh_with(
    workplace: Path, store: EmbeddedStore, client: redis.Redis
) -> None:
    activate(workplace, store.url, model="none")
    with pytest.raises(ConfigError, match="version 'made-1' has no language model"):
        add_fresh_items(workplace / "items.csv", client, generate=True)
    assert add_fresh_items(workplace / "items.csv", client) == {"made-1": 3}
    assert [item.knowledge for item in read_fresh("made-1", 6, client)] == [None] * 3


def test_an_aligned_version_has_the_aligned_model_describe_them(
    workplace: Path, client: redis.Redis
) -> None:
    recipe = {"description": "x", "encoding": {"batch_size": 1}}
    source = KnowledgeSource(model="llm, aligned 0123456789ab", prompt="v1", aligned=True)
    bundle = make_bundle(
        workplace / "made", configuration={"recipe": recipe, "item_kind": "film"}, source=source
    )
    publish(bundle, workplace / "bundles", client)
    Registry(client).activate("made-1")
    with pytest.raises(ConfigError, match="'llm, aligned 0123456789ab': its weights are not in"):
        add_fresh_items(workplace / "items.csv", client, generate=True)
    assert add_fresh_items(workplace / "items.csv", client) == {"made-1": 3}


def test_a_text_among_numbers_is_named_with_its_item(
    workplace: Path, store: EmbeddedStore, client: redis.Redis
) -> None:
    activate(workplace, store.url, model="none")
    rows = 'new 0,a,"1999,0"\nnew 1,b,soon\nnew 2,c,"2001,0"\n'
    (workplace / "items.csv").write_text(f"item_id,title,year\n{rows}")
    with pytest.raises(InputError, match="item 'new 1': year 'soon' is no number, as it is in the"):
        add_fresh_items(workplace / "items.csv", client)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"with_encoder": False}, "version 'plain-1' has no text encoder"),
        ({}, "version 'plain-1' was built without a recipe"),
    ],
)
def test_a_version_that_can_take_none_is_named(
    workplace: Path, client: redis.Redis, choices: dict[str, Any], message: str
) -> None:
    source = make_bundle(workplace / "made", version="plain-1", **choices)
    publish(source, workplace / "bundles", client)
    with pytest.raises(InputError, match="no version is active"):
        add_fresh_items(workplace / "items.csv", client)
    Registry(client).activate("plain-1")
    with pytest.raises(InputError, match=message):
        add_fresh_items(workplace / "items.csv", client)
