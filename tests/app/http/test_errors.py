"""Mistakes of callers: problems that name them, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.http.requests import MAX_BODY_BYTES, Event, RecommendRequest
from tests.app.conftest import AS_ADMIN

PATHS = ("/recommend", "/recommend/batch", "/events")
law = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert document["type"]
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return document


@pytest.mark.parametrize(
    ("request_", "field", "value"),
    [
        ({"history": [], "k": 0}, "k", 0),
        ({"history": [], "k": 1001}, "k", 1001),
        ({"history": [], "k": "10"}, "k", "10"),
        ({"history": [], "k": 10**30}, "k", str(10**30)),
        ({"history": [], "diversity": 1.5}, "diversity", 1.5),
        ({"history": ["a", 7]}, "history[1]", 7),
        ({"history": ["x" * 513]}, "history[0]", "x" * 200 + "…"),
        ({"history": [], "deadline_ms": 0}, "deadline_ms", 0),
        ({"history": [], "rerank": "maybe"}, "rerank", "maybe"),
        ({"history": [], "kk": 3}, "kk", 3),
        ({"history": [], "fields": ["title", "nope"]}, "fields[1]", "nope"),
        ({"history": [], "filters": {"nope": {"any": ["a"]}}}, "filters.nope", "nope"),
        ({"history": [], "filters": {"year": {"any": ["a"]}}}, "filters.year.any", '["a"]'),
        ({"history": [], "filters": {"year": {"gte": "a"}}}, "filters.year.gte", "a"),
        ({"history": [], "filters": {"year": {}}}, "filters.year", "{}"),
        ({"user_id": ""}, "user_id", ""),
        ({}, "body", None),
        ({"interests": "x" * 2001}, "interests", "x" * 200 + "…"),
    ],
)
def test_the_field_and_the_value_are_named(
    http: TestClient, request_: dict[str, Any], field: str, value: Any
) -> None:
    document = check_problem(http.post("/recommend", json=request_), 422)
    assert document["errors"][0]["field"] == field
    assert document["errors"][0]["value"] == value
    assert field in document["detail"]


def test_limits_on_lists(http: TestClient) -> None:
    for field in ("history", "candidates", "exclude"):
        body = {"history": ["i1"], field: ["i2"] * 10_000}
        assert http.post("/recommend", json=body).status_code == 200
        body[field] = ["i2"] * 10_001
        document = check_problem(http.post("/recommend", json=body), 422)
        assert document["errors"][0]["field"] == field
    many = {"requests": [{"history": []}] * 257}
    document = check_problem(http.post("/recommend/batch", json=many), 422)
    assert document["errors"][0]["field"] == "requests"


WRONG_REQUESTS = [
    ({"history": [], "k": 0}, "k"),
    ({"history": [], "filters": {"nope": {"any": ["a"]}}}, "filters.nope"),
    ({"history": [], "fields": ["nope"]}, "fields[0]"),
    ({"k": 3}, "body"),
    (None, "body"),
    ({"history": ["i1"], "unknown": 1}, "unknown"),
]


@pytest.mark.parametrize("padding", [0, 4_000], ids=["short", "long"])
def test_a_wrong_request_of_a_batch_has_its_problem_in_its_place(
    http: TestClient, padding: int
) -> None:
    """As long bodies are parsed elsewhere, both are tried."""
    good = {"history": ["i1"], "k": 2, "exclude": [f"x{n}" for n in range(padding)]}
    requests = [good]
    for bad, _ in WRONG_REQUESTS:
        requests += [bad, good]
    answer = http.post("/recommend/batch", json={"requests": requests})
    assert answer.status_code == 200
    responses = answer.json()["responses"]
    assert len(responses) == len(requests)
    for one in responses[::2]:
        assert len(one["items"]) == 2
    for one, (_, field) in zip(responses[1::2], WRONG_REQUESTS, strict=True):
        assert one["status"] == 422
        assert one["errors"][0]["field"] == field
        assert one["request_id"] == responses[0]["request_id"]
        assert "items" not in one


def test_a_batch_of_wrong_requests_alone_is_answered_too(http: TestClient) -> None:
    def n_timed() -> str:
        lines = http.get("/metrics").text.splitlines()
        return next(x for x in lines if x.startswith("longtail_stage_seconds_count"))

    before = n_timed()
    for bad, field in WRONG_REQUESTS:
        answer = http.post("/recommend/batch", json={"requests": [bad]})
        assert answer.status_code == 200
        assert answer.json()["responses"][0]["errors"][0]["field"] == field
    assert n_timed() == before  # no stage was run


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"17",
        b'"text"',
        b"\xff\xfe",
        b'{"history": [NaN]}',
        b'{"history": ["\\ud800"]}',
        b'{"history": [], "diversity": NaN}',
        b'{"history": [], "diversity": 1e999}',
        b'{"requests": [null], "more": 1}',
        b'{"events": {}}',
        b"[" * 100_000,
        b'{"history":' * 5_000,
    ],
)
def test_a_malformed_body_is_the_callers_fault(http: TestClient, path: str, body: bytes) -> None:
    check_problem(http.post(path, content=body), 422)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.sampled_from([*RecommendRequest.model_fields, *Event.model_fields, "events", "requests"])


@law
@given(path=st.sampled_from(PATHS), body=st.dictionaries(names, json_values, max_size=6))
def test_no_json_makes_a_5xx(http: TestClient, path: str, body: dict[str, Any]) -> None:
    response = http.post(path, content=json.dumps(body))
    assert response.status_code in {200, 422}
    if response.status_code == 422:
        check_problem(response, 422)


@law
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=60))
def test_no_bytes_make_a_5xx(http: TestClient, path: str, body: bytes) -> None:
    check_problem(http.post(path, content=body), 422)


def test_a_body_that_is_too_long(http: TestClient) -> None:
    body = b'{"history": [], "interests": "' + b" " * MAX_BODY_BYTES + b'"}'
    document = check_problem(http.post("/recommend", content=body), 413)
    assert str(MAX_BODY_BYTES) in document["detail"]
    chunks = iter([b" " * 1024] * 2100)
    check_problem(http.post("/recommend", content=chunks), 413)


def test_unknown_paths_and_methods(http: TestClient) -> None:
    assert "/nowhere" in check_problem(http.get("/nowhere"), 404)["detail"]
    response = http.get("/recommend")
    check_problem(response, 405)
    assert response.headers["Allow"] == "POST"
    check_problem(http.put("/health/ready"), 405)
    check_problem(http.get("/items/i1/similar?k=0"), 422)
    assert check_problem(http.get("/items/i1/similar?k=x"), 422)["errors"][0]["value"] == "x"
    check_problem(http.get("/items/i1/similar?fields=nope"), 422)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/i1/similar?k=3&filter=genres", "filter"),
        ("/items/i1/similar?K=3", "K"),
        ("/items/i1/similar?=x", ""),
        ("/admin/models?active=true", "active"),
    ],
)
def test_a_query_parameter_that_nothing_reads_is_named(
    http: TestClient, path: str, name: str
) -> None:
    document = check_problem(http.get(path, headers=AS_ADMIN), 422)
    assert document["errors"][0]["field"] == name
    assert document["detail"].startswith(f"{name}: is no query parameter of ")
    assert http.get("/items/i1/similar?k=3&fields=title").status_code == 200


def test_the_admin_token(http: TestClient) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        response = http.get("/admin/models", headers=headers)
        check_problem(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        check_problem(http.post("/admin/models/rollback", headers=headers), 401)
        check_problem(http.post("/admin/models/made-1/activate", headers=headers), 401)
    assert http.get("/admin/models", headers=AS_ADMIN).status_code == 200
