"""The OpenAPI document is true; the metrics are there; the service needs no torch."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from starlette.routing import Route
from starlette.testclient import TestClient

from app.main import LongtailApp
from tests.app.conftest import AS_ADMIN

CASES: list[tuple[str, str, dict[str, Any] | None, int]] = [
    (
        "POST",
        "/recommend",
        {"user_id": "u1", "explain": True, "fields": ["title", "knowledge"]},
        200,
    ),
    ("POST", "/recommend", {"interests": "comedy", "explain": True}, 200),
    ("POST", "/recommend", {"user_id": "nobody", "explain": True}, 200),
    ("POST", "/recommend", {"k": 0}, 422),
    ("POST", "/recommend/batch", {"requests": [{"history": ["i1"]}, {"user_id": "u2"}]}, 200),
    ("POST", "/recommend/batch", {"requests": []}, 422),
    ("POST", "/events", {"events": [{"user_id": "w", "item_id": "i1"}]}, 200),
    ("POST", "/events", {"user_id": "w", "item_id": "i1", "rating": 3.5}, 200),
    ("POST", "/events", {}, 422),
    ("GET", "/items/{item_id}/similar", None, 200),
    ("GET", "/health/live", None, 200),
    ("GET", "/health/ready", None, 200),
    ("GET", "/admin/models", None, 200),
    ("POST", "/admin/models/{version}/activate", None, 200),
    ("POST", "/admin/models/rollback", None, 409),
    (
        "POST",
        "/admin/experiments",
        {"name": "x", "arms": [{"name": "a", "share": 50}, {"name": "b", "share": 50}]},
        200,
    ),
    ("POST", "/admin/experiments", {"arms": []}, 422),
    ("POST", "/recommend", {"user_id": "u1"}, 200),
    ("GET", "/admin/experiments", None, 200),
    ("GET", "/admin/experiments/{name}", None, 200),
    ("DELETE", "/admin/experiments/{name}", None, 200),
]


@pytest.fixture(scope="module")
def document(http: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def test_the_document_is_made_beside_requests(
    http: TestClient, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_in: list[int] = []

    def make() -> dict[str, Any]:
        made_in.append(threading.get_ident())
        return document

    monkeypatch.setattr(http.app, "_encoded_document", None)
    monkeypatch.setattr(http.app, "openapi", make)
    assert [http.get("/openapi.json").json() for _ in range(2)] == [document] * 2
    assert http.portal is not None
    [thread] = made_in
    assert thread != http.portal.call(threading.get_ident)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


@pytest.mark.parametrize(("method", "path", "body", "status"), CASES)
def test_real_answers_fit_the_document(
    http: TestClient,
    document: dict[str, Any],
    method: str,
    path: str,
    body: dict[str, Any] | None,
    status: int,
) -> None:
    operation = document["paths"][path][method.lower()]
    url = path.replace("{item_id}", "i1").replace("{version}", "made-1").replace("{name}", "x")
    response = http.request(method, url, json=body, headers=AS_ADMIN)
    assert response.status_code == status, response.text
    content = operation["responses"][str(status)]["content"]
    schema = content[response.headers["content-type"]]["schema"]
    assert schema
    validator(document, schema).validate(response.json())
    if body is not None:
        declared = operation["requestBody"]["content"]["application/json"]["schema"]
        assert validator(document, declared).is_valid(body) is (status == 200)


def test_every_reference_in_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', str(document).replace("'", '"')))
    assert references
    assert references <= set(document["components"]["schemas"])


def test_the_documentation_page_needs_nothing_from_elsewhere(http: TestClient) -> None:
    page = http.get("/docs").text
    links = re.findall(r"""(?:href|src)="([^"]+)\"""", page) + re.findall(r"url: '([^']+)'", page)
    assert len(links) == 4
    for link in links:
        assert "//" not in link
        response = http.get(urljoin("/docs", link))
        assert response.status_code == 200
        assert len(response.content) > 1_000
    assert "SwaggerUIBundle" in page


def test_operators_can_authorize(document: dict[str, Any]) -> None:
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_operators = "/admin" in path or path == "/users/{user_id}"
            assert operation.get("security", []) == ([{name: []}] if is_operators else [])
    # Names of components that generators reject are useless.
    parts = [key for part in document["components"].values() for key in part]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in parts)


def test_operations_have_readable_names(document: dict[str, Any]) -> None:
    names = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name) for name in names), names


def test_the_examples_of_bodies_are_valid(document: dict[str, Any]) -> None:
    contents = [
        operation["requestBody"]["content"]["application/json"]
        for path in document["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    ]
    assert len(contents) == 10
    for content in contents:
        for example in content["examples"].values():
            validator(document, content["schema"]).validate(example["value"])


def test_what_callers_may_leave_out_is_optional_for_generators(document: dict[str, Any]) -> None:
    """They take a field with a `default`, even null, for one that is always there."""
    schemas = document["components"]["schemas"]
    fields = [f for schema in schemas.values() for f in schema.get("properties", {}).values()]
    assert fields
    assert [field for field in fields if "default" in field] == []
    assert "required" not in schemas["RecommendRequest"]
    assert schemas["RecommendRequest"]["properties"]["k"]["description"].endswith("Default: 10.")
    assert set(schemas["Event"]["required"]) == {"user_id", "item_id"}


def test_metrics_count_what_happened(http: TestClient) -> None:
    def read(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", http.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    similar = 'route="/items/{item_id}/similar"'
    lines = {
        'longtail_requests_total{arm="",model="default",route="/recommend",served_by="popular",status="200",'
        'version="made-1"}': 2,
        'longtail_requests_total{arm="",model="",route="/recommend",served_by="",status="422",'
        'version=""}': 1,
        f'longtail_requests_total{{arm="",model="",{similar},served_by="",status="404",'
        'version=""}': 1,
        'longtail_request_seconds_count{arm="",model="default",route="/recommend",'
        'version="made-1"}': 2,
        'longtail_request_seconds_count{arm="",model="",route="/recommend",version=""}': 1,
        'longtail_degraded_total{arm="",version="made-1",what="unknown_items"}': 2,
        'longtail_stage_seconds_count{stage="inference"}': 2,
        'longtail_events_total{where="store"}': 3,
    }  # fmt: skip
    before = {line: read(line) for line in lines}
    for _ in range(2):
        http.post("/recommend", json={"history": ["never heard of"]})
    http.post("/recommend", json={})
    http.get("/items/nothing/similar")
    http.post("/events", json={"events": [{"user_id": "m", "item_id": "i1"}] * 3})
    assert {line: read(line) - before[line] for line in lines} == lines
    assert read('longtail_model_workers{model="default",version="made-1"}') == 1
    assert read('longtail_items{kind="all"}') == 60
    assert read("longtail_store_up") == 1


def test_no_request_waits_for_its_route_to_be_analysed(http: TestClient) -> None:
    # A router that is included is FastAPI's `_IncludedRouter`: the first request that comes to it
    # has all of its routes analysed a second time, on the event loop.
    assert isinstance(http.app, LongtailApp)
    assert {type(route) for route in http.app.routes} == {APIRoute, Route}
