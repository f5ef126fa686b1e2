"""A version of kind rating: `POST /ratings`, recommendations by predicted rating, and swaps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, publish_and_activate, serving, settings_for
from tests.synthetic_bundle import Catalogue
from tests.synthetic_ratings import SCALE, SyntheticRatings, make_rating_bundle


@pytest.fixture(scope="module")
def ratings(catalogue: Catalogue) -> SyntheticRatings:
    return SyntheticRatings(catalogue)


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore,
    catalogue: Catalogue,
    synthetic_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    """A service with a rating version; a sequential one is published beside it."""
    folder = tmp_path_factory.mktemp("rated")
    bundle = make_rating_bundle(folder / "rated-1", catalogue=catalogue)
    client = connect(store.url)
    publish(synthetic_bundle, folder / "bundles", client)
    client.close()
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def rate(http: TestClient, **request: Any) -> dict[str, Any]:
    response = http.post("/ratings", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def values_of(answer: dict[str, Any]) -> list[float]:
    return [one["rating"] for one in answer["ratings"]]


def test_a_known_user_gets_the_graphs_ratings_in_order(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    items = ["i9", "i2", "i30", "i2"]
    answer = rate(http, user_id="u3", item_ids=items)
    wanted = ratings.predictions(ratings.row_of("u3")).clip(*SCALE)[[9, 2, 30, 2]]
    assert [one["item_id"] for one in answer["ratings"]] == items
    assert values_of(answer) == pytest.approx(wanted, abs=1e-4)
    assert (answer["served_by"], answer["degraded"]) == ("rating", [])
    assert answer["model_version"] == "rated-1"
    assert answer["timings_ms"]["total"] > 0


def test_answers_fit_the_openapi_document(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    responses = document["paths"]["/ratings"]["post"]["responses"]
    answer = rate(http, user_id="u3", item_ids=["i9", "x"])
    schema = responses["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(answer)
    assert {"409", "422", "429", "503"} <= responses.keys()


def test_ratings_stay_within_the_scale(http: TestClient, ratings: SyntheticRatings) -> None:
    raw = ratings.predictions(ratings.row_of("u1"))[1:]
    found = values_of(rate(http, user_id="u1", item_ids=list(ratings.made.ids.ids)))
    assert raw.max() > SCALE[1]
    assert found == pytest.approx(raw.clip(*SCALE), abs=1e-4)


def test_unknown_items_get_the_users_mean_and_are_counted(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    answer = rate(http, user_id="u2", item_ids=["x", "i1", "y"])
    mean = pytest.approx(float(ratings.user_means[2]), abs=1e-4)
    assert values_of(answer)[::2] == [mean, mean]
    assert answer["degraded"] == ["unknown_item_ids:2"]


def test_an_unknown_user_gets_the_items_means_and_that_is_said(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    answer = rate(http, user_id="nobody", item_ids=["i4", "x"])
    wanted = ratings.item_means[[4, 0]]
    assert values_of(answer) == pytest.approx(wanted, abs=1e-4)
    assert answer["degraded"] == ["unknown_item_ids:1", "unknown_user"]


def test_a_history_makes_the_row_of_a_user_nobody_knew(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    answer = rate(http, history=["i4", "i7"], item_ids=["i1", "i2"])
    wanted = ratings.predictions(ratings.folded([4, 7])).clip(*SCALE)[[1, 2]]
    assert values_of(answer) == pytest.approx(wanted, abs=1e-4)
    assert answer["degraded"] == []


def test_a_history_replaces_the_rated_half_of_a_known_users_row(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    answer = rate(http, user_id="u5", history=["i4", "i7"], item_ids=["i1", "i2"])
    row = ratings.folded([4, 7])
    row[: len(row) // 2] = ratings.row_of("u5")[: len(row) // 2]
    assert values_of(answer) == pytest.approx(
        ratings.predictions(row).clip(*SCALE)[[1, 2]], abs=1e-4
    )


def test_events_make_a_new_user_known(http: TestClient, ratings: SyntheticRatings) -> None:
    assert http.post("/events", json={"user_id": "new", "item_id": "i8"}).status_code == 200
    answer = rate(http, user_id="new", item_ids=["i1"])
    wanted = ratings.predictions(ratings.folded([8])).clip(*SCALE)[1]
    assert values_of(answer) == [pytest.approx(wanted, abs=1e-4)]


def test_a_forgotten_user_gets_nothing_of_the_row_that_training_left(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    assert http.delete("/users/u7", headers=AS_ADMIN).status_code == 200
    answer = rate(http, user_id="u7", item_ids=["i4"])
    assert answer["degraded"] == ["unknown_user"]
    assert values_of(answer) == [pytest.approx(float(ratings.item_means[4]), abs=1e-4)]
    assert http.post("/recommend", json={"user_id": "u7"}).json()["served_by"] == "popular"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"item_ids": ["i1"]}, "one of user_id, history is needed"),
        ({"user_id": "u1"}, "item_ids"),
        ({"user_id": "u1", "item_ids": []}, "item_ids"),
        ({"user_id": "u1", "item_ids": ["i1"] * 1001}, "1000"),
        ({"user_id": "u1", "item_ids": ["i1"], "k": 3}, "unknown field"),
    ],
)
def test_wrong_requests_are_told_why(
    http: TestClient, request_: dict[str, Any], message: str
) -> None:
    response = http.post("/ratings", json=request_)
    assert response.status_code == 422
    assert message in response.json()["detail"]


def test_recommendations_are_ranked_by_predicted_rating(
    http: TestClient, ratings: SyntheticRatings
) -> None:
    answer = http.post("/recommend", json={"user_id": "u3", "k": 10, "explain": True}).json()
    wanted = ratings.predictions(ratings.row_of("u3"))
    wanted[[0, *ratings.made.histories["u3"]]] = -np.inf
    best = np.argsort(-wanted, kind="stable")[:10]
    assert [one["item_id"] for one in answer["items"]] == [f"i{item}" for item in best]
    assert [one["score"] for one in answer["items"]] == pytest.approx(wanted[best], abs=1e-4)
    assert (answer["served_by"], answer["degraded"]) == ("rating", [])
    first = answer["items"][0]["explanation"]
    assert first["user_mean"] == pytest.approx(float(ratings.user_means[3]), abs=1e-4)
    assert first["item_mean"] == pytest.approx(float(ratings.item_means[best[0]]), abs=1e-4)


def test_candidates_and_filters_hold(http: TestClient, ratings: SyntheticRatings) -> None:
    candidates = ["i5", "i6", "i7", "i8"]
    asked = {"user_id": "u3", "candidates": candidates, "exclude_seen": False, "exclude": ["i6"]}
    answer = http.post("/recommend", json=asked).json()
    wanted = ratings.predictions(ratings.row_of("u3"))
    assert [one["item_id"] for one in answer["items"]] == sorted(
        ("i5", "i7", "i8"), key=lambda item_id: -wanted[int(item_id[1:])]
    )


def test_somebody_of_whom_nothing_is_known_gets_the_popular_items(http: TestClient) -> None:
    answer = http.post("/recommend", json={"user_id": "nobody"}).json()
    assert answer["served_by"] == "popular"
    assert http.post("/recommend", json={"history": ["i1"]}).json()["served_by"] == "rating"


def test_kinds_swap_and_each_answers_what_it_can(http: TestClient) -> None:
    asked = {"user_id": "u3", "item_ids": ["i1"]}
    before = rate(http, **asked)
    for version, status in (("made-1", 409), ("rated-1", 200)):
        swapped = http.post(f"/admin/models/{version}/activate", headers=AS_ADMIN)
        assert swapped.status_code == 200, swapped.text
        response = http.post("/ratings", json=asked)
        assert response.status_code == status
        if status == 409:
            assert "'made-1' is of kind 'sequential'" in response.json()["detail"]
        recommended = http.post("/recommend", json={"user_id": "u3"}).json()
        assert recommended["served_by"] == ("model" if status == 409 else "rating")
        assert recommended["model_version"] == version
    assert values_of(rate(http, **asked)) == values_of(before)


def test_a_large_catalogue_is_ranked_among_its_most_popular_items(
    store: EmbeddedStore, catalogue: Catalogue, ratings: SyntheticRatings, tmp_path: Path
) -> None:
    bundle = make_rating_bundle(
        tmp_path / "few", version="few-1", catalogue=catalogue, max_ranked=15
    )
    publish_and_activate(bundle, tmp_path, store.url)
    with serving(settings_for(store.url, tmp_path)) as http:
        answer = http.post("/recommend", json={"user_id": "u3", "k": 15}).json()
        rare = int(np.argmin(catalogue.popularity[1:])) + 1
        pin = {"name": "p", "action": "pin", "item_id": f"i{rare}", "rank": 2}
        changed = http.put("/admin/rules", json={"rules": [pin]}, headers=AS_ADMIN)
        assert changed.status_code == 200, changed.text
        pinned = http.post("/recommend", json={"user_id": "u3", "k": 15}).json()
        http.put("/admin/rules", json={"rules": []}, headers=AS_ADMIN)
    popularity = np.array(catalogue.popularity)
    popularity[[0, *catalogue.histories["u3"]]] = -1
    popular = np.argsort(-popularity, kind="stable")[:15]
    wanted = ratings.predictions(ratings.row_of("u3"))
    order = popular[np.lexsort((popular, -wanted[popular]))]
    assert [one["item_id"] for one in answer["items"]] == [f"i{item}" for item in order]
    assert rare not in order
    second = pinned["items"][1]
    assert (second["item_id"], second["score"]) == (
        f"i{rare}",
        pytest.approx(wanted[rare], abs=1e-4),
    )
