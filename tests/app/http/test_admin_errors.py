"""Mistakes of operators: problems that name them, and never a 5xx."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.http.requests import CanaryRequest, ExperimentRequest, ItemChange, ItemsRequest
from model_store.experiment import Arm, RequestDefaults
from model_store.item_filter import Filter
from model_store.rules import Rule, Rules
from tests.app.conftest import AS_ADMIN
from tests.app.http.test_errors import check_problem

BODIES = (
    ("POST", "/admin/models/made-1/canary"),
    ("POST", "/admin/models/made-1/shadow"),
    ("POST", "/admin/experiments"),
    ("POST", "/admin/experiments/x"),
    ("PUT", "/admin/rules"),
    ("PUT", "/admin/items"),
)
IN_JSON = {"Content-Type": "application/json"}
law = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Python's json writes lone surrogates as escapes, and NaN as it is.
texts = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "made-1", "i1", "title"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.sampled_from([10**400, -(10**30), 1e308, float("nan"), float("inf")])
    | st.floats()
    | texts
)
actions = [one.model_fields["action"].annotation for one in get_args(get_args(Rule)[0])]
words = st.sampled_from([get_args(one)[0] for one in actions])
models = (Rules, *get_args(get_args(Rule)[0]), Filter, ItemsRequest, ItemChange)
models += (CanaryRequest, ExperimentRequest, Arm, RequestDefaults)
fields = [field.alias or name for one in models for name, field in one.model_fields.items()]
names = st.sampled_from([*dict.fromkeys(fields), "share", "genres", "year"]) | texts
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)
bodies = st.dictionaries(names, values, max_size=4) | values


def rules_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Rules that are nearly right, which random ones hardly ever are."""
    one = st.fixed_dictionaries(
        {"name": texts, "action": words},
        optional={
            "item_ids": st.lists(texts, max_size=2) | inner,
            "filters": st.dictionaries(
                st.sampled_from(["genres", "year", "title", "\ud800"]),
                st.dictionaries(st.sampled_from([*Filter.model_fields]), inner, max_size=2),
                max_size=2,
            ),
            "factor": scalars,
            "item_id": texts,
            "rank": scalars,
            "attribute": st.sampled_from(["genres", "year", "no"]) | texts,
            "at_most": scalars,
            "from": st.sampled_from(["2026-01-01", "0001-01-01T00:00:00+14:00", "x"]) | scalars,
            "until": st.sampled_from(["9999-12-31T23:59:59-23:59"]) | scalars,
            "context": st.dictionaries(texts, scalars, max_size=2),
            "arms": st.lists(texts, max_size=2),
        },
    )
    return st.fixed_dictionaries({"rules": st.lists(one, max_size=3)})


@pytest.fixture
def put_back(http: TestClient) -> Iterator[None]:
    yield
    http.delete("/admin/experiments/x", headers=AS_ADMIN)
    assert http.put("/admin/rules", headers=AS_ADMIN, json={"rules": []}).status_code == 200


def ask(http: TestClient, method: str, path: str, body: object = None) -> None:
    content = None if body is None else json.dumps(body)
    response = http.request(method, path, headers={**AS_ADMIN, **IN_JSON}, content=content)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        document = check_problem(response, response.status_code)
        assert len(document.get("errors", ())) <= 20
        assert "\n" not in document["detail"]
    elif path.startswith("/admin/experiments") and method == "POST":
        http.delete(f"/admin/experiments/{response.json()['name']}", headers=AS_ADMIN)


@law
@given(call=st.sampled_from(BODIES), body=bodies)
def test_no_json_makes_a_5xx(
    http: TestClient, put_back: None, call: tuple[str, str], body: Any
) -> None:
    ask(http, *call, body)


@law
@given(body=rules_of(values))
def test_no_rules_make_a_5xx(http: TestClient, put_back: None, body: Any) -> None:
    ask(http, "PUT", "/admin/rules", body)


@law
@given(data=st.data())
def test_no_path_or_parameter_makes_a_5xx(http: TestClient, data: st.DataObject) -> None:
    """Of every route under /admin, also of those to come."""
    paths = http.get("/openapi.json").json()["paths"]
    calls = [
        (method.upper(), path, operation)
        for path, operations in paths.items()
        if path.startswith("/admin")
        for method, operation in operations.items()
        # Of those without a body, changes are made in other tests.
        if method == "get" or "requestBody" in operation
    ]
    method, path, operation = data.draw(st.sampled_from(calls))
    odd = st.binary(max_size=6) | st.sampled_from([b"u1", b"made-1", b"\xff", b"..", b"a/b", b"7"])
    query = []
    for parameter in operation.get("parameters", ()):
        value = quote(data.draw(odd), safe="")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", value)
        elif data.draw(st.booleans()):
            query.append(f"{parameter['name']}={value}")
    ask(http, method, f"{path}?{'&'.join(query)}" if query else path)


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("body", [b"", b"{", b"null", b'{"\\ud800": 1}', b"[" * 50_000, b"\xff"])
def test_a_malformed_body_is_the_operators_fault(
    http: TestClient, method: str, path: str, body: bytes
) -> None:
    response = http.request(method, path, headers={**AS_ADMIN, **IN_JSON}, content=body)
    assert check_problem(response, 422)["errors"][0]["field"] == "body"
    # Nobody without a token has one read.
    check_problem(http.request(method, path, headers=IN_JSON, content=body), 401)


def test_a_body_may_be_compressed(http: TestClient) -> None:
    headers = {**AS_ADMIN, **IN_JSON, "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"rules": []}')
    assert http.put("/admin/rules", headers=headers, content=body).status_code == 200


def test_of_very_many_errors_some_are_listed(http: TestClient) -> None:
    rules = [{"name": 1, "action": "hide"}] * 400
    response = http.put("/admin/rules", headers=AS_ADMIN, json={"rules": rules})
    document = check_problem(response, 422)
    assert len(document["errors"]) == 20
    assert document["detail"].endswith("and 399 more")
