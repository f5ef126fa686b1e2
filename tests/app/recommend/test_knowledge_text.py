"""What a language model wrote about items, in answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from model_store import keys
from model_store.attributes import Attribute, ItemAttributes
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.knowledge_texts import SHORT_CHARACTERS, KnowledgeText
from tests.app.conftest import publish_and_activate, serving, settings_for, wait_for
from tests.synthetic_bundle import SOURCE, Catalogue, make_bundle, make_catalogue

ALL = {"history": ["i3"], "k": 60, "exclude_seen": False}


def items_of(http: TestClient, **request: Any) -> dict[str, dict[str, Any]]:
    response = http.post("/recommend", json=ALL | request)
    assert response.status_code == 200, response.text
    return {item["item_id"]: item for item in response.json()["items"]}


def expected(catalogue: Catalogue) -> dict[str, str | None]:
    return {f"i{n}": text or None for n, text in enumerate(catalogue.texts, start=1)}


def test_the_field_knowledge_is_the_text(http: TestClient, catalogue: Catalogue) -> None:
    items = items_of(http, fields=["knowledge", "year"])
    assert {key: one["fields"]["knowledge"] for key, one in items.items()} == expected(catalogue)
    assert all(set(item["fields"]) == {"knowledge", "year"} for item in items.values())
    # Nobody who doesn't ask for it gets it.
    assert all(set(i["fields"]) == {"year"} for i in items_of(http, fields=["year"]).values())


def test_batches_and_similar_items_have_it_too(http: TestClient, catalogue: Catalogue) -> None:
    texts = expected(catalogue)
    body = {"requests": [ALL | {"k": 3, "fields": ["knowledge"]}]}
    [answer] = http.post("/recommend/batch", json=body).json()["responses"]
    near = http.get("/items/i3/similar?k=4&fields=title,knowledge").json()
    for item in (*answer["items"], *near["items"]):
        assert item["fields"]["knowledge"] == texts[item["item_id"]]


def test_an_explanation_cites_it_where_there_is_one(http: TestClient, catalogue: Catalogue) -> None:
    texts = expected(catalogue)
    for request in ({}, {"history": None, "interests": "comedy"}, {"history": []}):
        for item_id, item in items_of(http, explain=True, **request).items():
            assert item["explanation"].get("knowledge") == texts[item_id]
    assert all(item["explanation"] is None for item in items_of(http).values())


def test_an_unknown_field_is_rejected_with_the_known_ones(http: TestClient) -> None:
    response = http.post("/recommend", json=ALL | {"fields": ["title", "knowledges"]})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["field"] == "fields[1]"
    assert error["message"] == (
        "unknown field; known are title (text), year (number), genres (list), knowledge (text)"
    )


@pytest.fixture
def other(
    store: EmbeddedStore, client: redis.Redis, folder: Path, tmp_path: Path
) -> Iterator[TestClient]:
    """A service whose catalogue has an attribute of that name; no text is in its bundle."""
    made = make_catalogue()
    own = Attribute("knowledge", "text", [f"own {n}" for n in range(1, 61)])
    columns = [made.attributes.get(name) for name in made.attributes.names]
    attributes = ItemAttributes([*filter(None, columns), own], 60)
    bundle = make_bundle(
        tmp_path / "own", catalogue=replace(made, attributes=attributes), with_texts=False
    )
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def test_a_catalogues_own_attribute_of_that_name_comes_first(other: TestClient) -> None:
    for item_id, item in items_of(other, fields=["knowledge"], explain=True).items():
        assert item["fields"] == {"knowledge": f"own {item_id[1:]}"}
        assert "knowledge" not in item["explanation"]
    response = other.post(
        "/recommend", json=ALL | {"filters": {"knowledge": {"any": ["own 4"]}}, "k": 5}
    )
    assert [item["item_id"] for item in response.json()["items"]] == ["i4"]


def test_a_fresh_items_text_comes_from_the_store(
    store: EmbeddedStore, client: redis.Redis, folder: Path, tmp_path: Path, catalogue: Catalogue
) -> None:
    """Also in a version whose bundle has no texts; an unusable one keeps no item away."""
    bundle = make_bundle(tmp_path / "before", with_texts=False)
    publish_and_activate(bundle, folder, store.url)
    vector = catalogue.knowledge[3]
    text = KnowledgeText(text="long " * 50, source=SOURCE, made_on=date(2026, 3, 4))
    with serving(settings_for(store.url, folder)) as http:
        assert items_of(http, fields=["knowledge"])["i1"]["fields"] == {"knowledge": None}
        client.hset(keys.knowledge_key("made-1"), "odd", b'{"text": ""}')
        fresh = [FreshItem("new", vector, {}, text), FreshItem("odd", vector, {})]
        publish_fresh(fresh, client, encoder="made")
        wait_for(lambda: http.get("/health/ready").json()["fresh_items"] == 2)
        items = items_of(http, k=62, fields=["knowledge"], explain=True)
    assert items["new"]["fields"] == {"knowledge": text.text}
    cited = items["new"]["explanation"]["knowledge"]
    assert cited.endswith("long…")
    assert len(cited) <= SHORT_CHARACTERS
    assert items["odd"]["fields"] == {"knowledge": None}


def test_a_version_with_texts_of_its_own_and_fresh_ones(
    store: EmbeddedStore, client: redis.Redis, folder: Path, synthetic_bundle: Bundle
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    vector = make_catalogue().knowledge[3]
    text = KnowledgeText(text="new", source=SOURCE, made_on=None)
    publish_fresh([FreshItem("new", vector, {}, text)], client, encoder="made")
    with serving(settings_for(store.url, folder)) as http:
        items = items_of(http, k=61, fields=["knowledge"])
    texts = {item_id: item["fields"]["knowledge"] for item_id, item in items.items()}
    assert texts == expected(make_catalogue()) | {"new": "new"}
