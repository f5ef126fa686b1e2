"""`GET /items/{item_id}/similar` with filters, which mean what they mean in `POST /recommend`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.synthetic_bundle import Catalogue


def similar(http: TestClient, filters: Any, k: int = 1_000) -> Any:
    parameters = {"filters": json.dumps(filters), "k": str(k)}
    return http.get("/items/i1/similar", params=parameters)


@pytest.mark.parametrize(
    "filters",
    [
        {"genres": {"any": ["drama", "comedy"]}},
        {"genres": {"all": ["drama"], "none": ["comedy"]}, "year": {"gte": 1990}},
        {"year": {"lte": 2000}},
        {},
    ],
)
def test_the_nearest_of_those_that_pass_are_answered(
    http: TestClient, catalogue: Catalogue, filters: dict[str, Any]
) -> None:
    everything = http.get("/items/i1/similar?k=1000").json()["items"]
    assert len(everything) == len(catalogue.ids) - 1
    body = {"user_id": "nobody", "k": 1_000, "filters": filters}
    passing = {item["item_id"] for item in http.post("/recommend", json=body).json()["items"]}
    expected = [item for item in everything if item["item_id"] in passing]
    answer = similar(http, filters).json()
    assert answer["degraded"] == []
    assert [item["item_id"] for item in answer["items"]] == [one["item_id"] for one in expected]
    assert [item["score"] for item in answer["items"]] == [one["score"] for one in expected]
    assert len(similar(http, filters, k=3).json()["items"]) == min(3, len(expected))


def test_a_condition_that_no_item_meets_is_labelled(http: TestClient) -> None:
    answer = similar(http, {"genres": {"any": ["dramma"]}}).json()
    assert (answer["items"], answer["degraded"]) == ([], ['no_match: genres "dramma"'])


@pytest.mark.parametrize(
    ("filters", "field", "said"),
    [
        ({"colour": {"any": ["red"]}}, "filters.colour", "unknown attribute"),
        ({"year": {"all": ["1990"]}}, "filters.year.all", "is a number"),
        ({"genres": {}}, "filters.genres", "needs at least one of"),
        ({"genres": {"some": ["drama"]}}, "filters.genres.some", "unknown field"),
        (["genres"], "filters", "should be"),
    ],
)
def test_a_wrong_filter_is_named(http: TestClient, filters: Any, field: str, said: str) -> None:
    response = similar(http, filters)
    assert response.status_code == 422
    problem = response.json()
    assert problem["errors"][0]["field"] == field
    assert said in problem["detail"]


def test_what_is_no_json_is_named(http: TestClient) -> None:
    response = http.get("/items/i1/similar", params={"filters": "genres=drama"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "filters"
