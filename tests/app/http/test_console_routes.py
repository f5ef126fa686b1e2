"""What the console asks for besides the deployment: people, recommendations, the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from tests.app.conftest import (
    AS_ADMIN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

PATHS = ("/admin/users/u1/history", "/admin/users/u1/recommendations", "/admin/items?q=i1")


def get(http: TestClient, path: str) -> Any:
    response = http.get(path, headers=AS_ADMIN)
    assert response.status_code == 200, response.text
    document = http.get("/openapi.json").json()
    pattern = path.partition("?")[0].replace("/u1/", "/{user_id}/")
    declared = document["paths"][pattern]["get"]["responses"]["200"]["content"]
    schema = {**declared["application/json"]["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(response.json())
    return response.json()


@pytest.mark.parametrize("path", PATHS)
def test_operators_alone_may_ask(http: TestClient, path: str) -> None:
    assert http.get(path).status_code == 401


def test_a_history_is_shown_newest_first_with_titles(
    http: TestClient, catalogue: Catalogue
) -> None:
    found = get(http, "/admin/users/u1/history?limit=3")
    items = catalogue.histories["u1"]
    assert found["n_items"] == len(items) > 3
    titles = catalogue.attributes.get("title")
    assert titles is not None
    assert found["items"] == [
        {"item_id": catalogue.ids.id_of(int(index)), "title": titles.value_of(int(index))}
        for index in items[::-1][:3]
    ]
    assert (found["n_unknown"], found["is_complete"]) == (0, True)


def test_events_about_unknown_items_are_counted(http: TestClient) -> None:
    events = [{"user_id": "a/b", "item_id": item_id} for item_id in ("i3", "no such item")]
    assert http.post("/events", json={"events": events}).status_code == 200
    response = http.get("/admin/users/a%2Fb/history", headers=AS_ADMIN).json()
    assert (response["user_id"], response["n_unknown"]) == ("a/b", 1)
    assert [item["item_id"] for item in response["items"]] == ["i3"]


def test_recommendations_are_those_that_the_user_gets_with_reasons(http: TestClient) -> None:
    found = get(http, "/admin/users/u1/recommendations?k=5")
    public = http.post("/recommend", json={"user_id": "u1", "k": 5}).json()
    assert [item["item_id"] for item in found["items"]] == [
        item["item_id"] for item in public["items"]
    ]
    assert found["model_version"] == "made-1"
    assert found["request_id"]
    for item in found["items"]:
        assert item["explanation"]["because"]
        assert set(item["fields"]) == {"title", "knowledge"}


def test_two_versions_can_be_asked_about_one_user(
    store: EmbeddedStore, client: redis.Redis, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    second = make_bundle(folder / "2", version="made-2", catalogue=make_catalogue(seed=8))
    publish(second, folder / "bundles", client)
    path = "/admin/users/u1/recommendations?version="
    with serving(settings_for(store.url, folder)) as http:
        problem = http.get(path + "made-2", headers=AS_ADMIN)
        assert problem.status_code == 409
        assert "'made-2' is not loaded in this worker (loaded: made-1)" in problem.json()["detail"]
        tried = http.post("/admin/models/made-2/canary", headers=AS_ADMIN, json={"percent": 1})
        assert tried.status_code == 200, tried.text
        wait_for(lambda: service_of(http).models.routing.trial is not None)
        answers = [
            http.get(path + version, headers=AS_ADMIN).json() for version in ("made-1", "made-2")
        ]
        assert [answer["model_version"] for answer in answers] == ["made-1", "made-2"]
        first, other = ([item["item_id"] for item in answer["items"]] for answer in answers)
        assert first != other


def test_the_catalogue_is_searched_by_title_and_id(http: TestClient, catalogue: Catalogue) -> None:
    titles = catalogue.attributes.get("title")
    assert titles is not None
    wanted = next(index for index, text in enumerate(catalogue.texts, start=1) if text)
    title = str(titles.value_of(wanted))
    found = get(http, f"/admin/items?q={title.upper()}")["items"][0]
    assert (found["item_id"], found["title"]) == (catalogue.ids.id_of(wanted), title)
    assert found["fields"]["title"] == title
    assert found["fields"]["knowledge"] == catalogue.texts[wanted - 1]
    assert get(http, "/admin/items?q=i12")["items"][0]["item_id"] == "i12"


def test_a_search_tells_how_many_items_match_and_begins_with_those_that_begin_so(
    http: TestClient, catalogue: Catalogue
) -> None:
    titles = catalogue.attributes.get("title")
    assert titles is not None
    texts = [str(title).casefold() for title in titles.values]
    matching = [text for text in texts if "1" in text]
    found = get(http, "/admin/items?q=1&limit=4")
    assert found["n_matches"] == len(matching) > 4
    assert len(found["items"]) == 4
    word = texts[0].split()[0]
    found = get(http, f"/admin/items?q={word}&limit=1000")
    assert found["items"][0]["title"].casefold().startswith(word)
    assert found["n_matches"] == sum(word in text for text in texts)
    assert get(http, "/admin/items?q=no%20such%20title")["n_matches"] == 0
