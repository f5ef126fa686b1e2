"""A catalogue that moves: attributes and availability of items change while a service runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.item_changes import ItemChange, write_changes
from tests.app.conftest import (
    AS_ADMIN,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.synthetic_bundle import Catalogue


@pytest.fixture(autouse=True)
def undone(request: pytest.FixtureRequest, catalogue: Catalogue) -> Iterator[None]:
    yield
    if "http" in request.fixturenames:
        service = request.getfixturevalue("http")
        everything = [
            {
                "item_id": item_id,
                "available": True,
                "attributes": catalogue.attributes.row(catalogue.ids.index_of(item_id) or 0),
            }
            for item_id in catalogue.ids.ids
        ]
        put(service, *everything)
        cleared = service.put("/admin/rules", json={"rules": []}, headers=AS_ADMIN)
        assert cleared.status_code == 200, cleared.text


def put(http: TestClient, *items: dict[str, Any]) -> Any:
    """Change items, and wait until the worker has them."""
    response = http.put("/admin/items", json={"items": items}, headers=AS_ADMIN)
    assert response.status_code == 200, response.text
    service = service_of(http)
    [(_, newest)] = service.operations._client.zrevrange("lt:items:changes", 0, 0, withscores=True)
    models = service.models.versions.models.values()
    wait_for(lambda: all(model.availability.read_up_to == newest for model in models))
    return response.json()


def withdraw(http: TestClient, *item_ids: str) -> None:
    put(http, *({"item_id": item_id, "available": False} for item_id in item_ids))


def ask(http: TestClient, **body: Any) -> dict[str, Any]:
    response = http.post("/recommend", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def found(http: TestClient, **body: Any) -> list[str]:
    return [item["item_id"] for item in ask(http, **body)["items"]]


REQUESTS: dict[str, dict[str, Any]] = {
    "model": {"user_id": "u1"},
    "cold_start": {"interests": "a slow western"},
    "popular": {"user_id": "nobody"},
    "filtered": {"user_id": "u1", "filters": {"genres": {"any": ["drama", "comedy"]}}},
    "candidates": {"user_id": "nobody", "candidates": [f"i{n}" for n in range(1, 41)]},
    "diverse": {"user_id": "u2", "diversity": 0.5},
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_withdrawn_item_is_in_no_answer_and_comes_back(http: TestClient, kind: str) -> None:
    body = {**REQUESTS[kind], "k": 6}
    before = found(http, **body)
    withdraw(http, *before[:3])
    during = found(http, **body)
    assert not set(during) & set(before[:3])
    assert len(during) == 6
    put(http, *({"item_id": item_id, "available": True} for item_id in before[:3]))
    assert found(http, **body) == before


def test_a_withdrawn_item_is_not_similar_to_others(http: TestClient) -> None:
    def similar() -> list[str]:
        items = http.get("/items/i1/similar?k=5").json()["items"]
        return [item["item_id"] for item in items]

    before = similar()
    withdraw(http, before[0])
    during = similar()
    assert during[:4] == before[1:]
    assert len(during) == 5


def test_as_many_items_are_answered_as_there_are(http: TestClient, catalogue: Catalogue) -> None:
    left = {"i7", "i9"}
    withdraw(http, *(set(catalogue.ids.ids) - left))
    for body in (*REQUESTS.values(), {"user_id": "nobody", "k": 1_000}):
        plain = {**body, "exclude_seen": False}
        plain.pop("filters", None)
        assert set(found(http, **plain)) == left
    withdraw(http, *left)
    for body in REQUESTS.values():
        assert found(http, **body) == []


def test_the_metrics_count_what_is_withdrawn(http: TestClient) -> None:
    withdraw(http, "i1", "i2", "i3")
    wait_for(lambda: 'longtail_items{kind="withdrawn"} 3.0' in http.get("/metrics").text)


def test_rules_bring_no_withdrawn_item_and_follow_attributes(http: TestClient) -> None:
    rules = [
        {"name": "first", "action": "pin", "item_id": "i9", "rank": 1},
        {"name": "no opera", "action": "hide", "filters": {"genres": {"any": ["opera"]}}},
    ]
    response = http.put("/admin/rules", json={"rules": rules}, headers=AS_ADMIN)
    assert response.status_code == 200, response.text
    body = {"user_id": "nobody", "k": 60}
    wait_for(lambda: found(http, **body)[0] == "i9")
    withdraw(http, "i9")
    assert "i9" not in found(http, **body)
    assert "i7" in found(http, **body)
    put(http, {"item_id": "i7", "attributes": {"genres": ["opera"]}})
    wait_for(lambda: "i7" not in found(http, **body))  # rules follow within a second
    put(http, {"item_id": "i7", "attributes": {"genres": ["drama"]}})
    wait_for(lambda: "i7" in found(http, **body))
    put(http, {"item_id": "i9", "available": True})
    assert found(http, **body)[0] == "i9"


def test_a_changed_attribute_is_found_and_shown(http: TestClient) -> None:
    item = {"item_id": "i5", "attributes": {"genres": ["opera"], "year": 1607, "title": None}}
    assert put(http, item, {"item_id": "i6", "available": False}) == {"items": 2, "changed": 2}
    only = {"exclude_seen": False, "fields": ["genres", "year", "title"], "user_id": "u1"}
    for filters in (
        {"genres": {"any": ["opera"]}},
        {"year": {"lte": 1700}},
        {"year": {"any": [1607]}},
    ):
        [one] = ask(http, **only, filters=filters)["items"]
        assert one["item_id"] == "i5"
        assert one["fields"] == {"genres": ["opera"], "year": 1607, "title": None}
    put(http, {"item_id": "i5", "attributes": {"genres": ["drama"]}})
    answer = ask(http, **only, filters={"genres": {"any": ["opera"]}})
    assert (answer["items"], answer["degraded"]) == ([], ['no_match: genres "opera"'])
    [one] = ask(http, **only, filters={"year": {"lte": 1700}})["items"]
    assert one["fields"]["genres"] == ["drama"]


@pytest.mark.parametrize(
    ("item", "field", "said"),
    [
        ({"item_id": "unknown", "available": False}, "items[1].item_id", "unknown item"),
        (
            {"item_id": "i2", "attributes": {"colour": "red"}},
            "items[1].attributes.colour",
            "attribute 'colour' is not one of",
        ),
        (
            {"item_id": "i2", "attributes": {"year": "long ago"}},
            "items[1].attributes.year",
            "'long ago' is no number",
        ),
        (
            {"item_id": "i2", "attributes": {"genres": "drama"}},
            "items[1].attributes.genres",
            "'drama' is no list",
        ),
        ({"item_id": "i2", "avilable": False}, "items[1].avilable", "avilable"),
    ],
)
def test_a_wrong_change_is_named_and_nothing_changes(
    http: TestClient, item: dict[str, Any], field: str, said: str
) -> None:
    items = [{"item_id": "i1", "available": False}, item]
    response = http.put("/admin/items", json={"items": items}, headers=AS_ADMIN)
    assert response.status_code == 422
    assert field in response.text
    assert said in response.json()["detail"]
    put(http, {"item_id": "i3", "attributes": {"year": 1900}})
    assert "i1" in found(http, user_id="nobody", k=1_000)


def test_changing_needs_the_role_to_operate(http: TestClient) -> None:
    items = {"items": [{"item_id": "i1", "available": False}]}
    assert http.put("/admin/items", json=items).status_code == 401


def test_saying_the_same_again_changes_nothing(http: TestClient) -> None:
    item = {"item_id": "i4", "available": False}
    put(http, item)
    assert put(http, item) == {"items": 1, "changed": 0}


def test_changes_outlive_a_restart_and_an_activation(
    store: EmbeddedStore, good: str, folder: Any, second: str
) -> None:
    with serving(settings_for(store.url, folder)) as http:
        put(http, {"item_id": "i8", "available": False, "attributes": {"genres": ["opera"]}})
    with serving(settings_for(store.url, folder)) as http:
        for version in (good, second):
            http.post(f"/admin/models/{version}/activate", headers=AS_ADMIN)
            assert ask(http, user_id="u1")["model_version"] == version
            opera = {"user_id": "u1", "filters": {"genres": {"any": ["opera"]}}}
            assert found(http, **opera, exclude_seen=False) == []
            put(http, {"item_id": "i8", "available": True})
            assert found(http, **opera, exclude_seen=False) == ["i8"]
            put(http, {"item_id": "i8", "available": False})


def test_a_fresh_item_has_what_was_said_of_it_before(
    own_http: TestClient, client: redis.Redis, catalogue: Catalogue
) -> None:
    """Another version knew the item, or it was withdrawn before this worker had read it."""
    changes = {"genres": ["opera"]}
    write_changes([ItemChange("new", False, changes)], client)
    put(own_http, {"item_id": "i1", "available": False})
    fresh = FreshItem("new", catalogue.knowledge[1], {"title": "x", "genres": ["drama"]})
    publish_fresh([fresh], client, encoder="made")
    wait_for(lambda: own_http.get("/health/ready").json()["fresh_items"] == 1)
    everything = found(own_http, user_id="nobody", k=1_000)
    assert not {"new", "i1"} & set(everything)
    put(own_http, {"item_id": "new", "available": True})
    opera = {"filters": {"genres": {"any": ["opera"]}}, "exclude_seen": False}
    assert found(own_http, user_id="u1", **opera) == ["new"]


def test_a_damaged_state_keeps_no_other_item_away(
    own_http: TestClient, client: redis.Redis
) -> None:
    client.hset("lt:items:states", "i2", "{")
    client.zadd("lt:items:changes", {"i2": 1, "gone": 2})
    put(own_http, {"item_id": "i1", "available": False})
    everything = found(own_http, user_id="nobody", k=1_000)
    assert "i1" not in everything
    assert "i2" in everything


def test_very_many_changes_are_all_followed(
    own_http: TestClient, client: redis.Redis, catalogue: Catalogue
) -> None:
    others = [ItemChange(f"other {n}", False) for n in range(900)]
    mine = [ItemChange(item_id, False) for item_id in catalogue.ids.ids[1:]]
    assert write_changes([*others, *mine], client) == len(others) + len(mine)
    wait_for(lambda: found(own_http, user_id="nobody", k=1_000) == ["i1"])
    assert np.array_equal(
        service_of(own_http).models.current.availability.withdrawn, np.arange(2, 61)
    )
