"""What browsers may do: nothing from other origins, and on our pages what these need."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from starlette.testclient import TestClient

from tests.app.conftest import AS_ADMIN

FOREIGN = {"Origin": "https://elsewhere.example"}
PATHS = ("/recommend", "/events", "/health/ready", "/metrics", "/docs", "/admin/models")


def policy_of(http: TestClient, path: str) -> dict[str, list[str]]:
    parts = http.get(path).headers["Content-Security-Policy"].split("; ")
    return {name: values for name, *values in map(str.split, parts)}


def test_the_documentation_page_runs_its_own_scripts_only(http: TestClient) -> None:
    page = http.get("/docs").text
    policy = policy_of(http, "/docs")
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(inline) == 1
    assert len(re.findall(r"<script", page)) == 2
    digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
    assert policy["script-src"] == ["'self'", f"'sha256-{digest}'"]
    assert not re.search(r"\son\w+=", page.replace(inline[0], ""))  # no handler as an attribute
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]


def test_answers_that_browsers_show_are_not_guessed_about(http: TestClient) -> None:
    for path in ("/docs", "/docs/swagger-ui.css", "/admin/models", "/admin/nothing"):
        headers = http.get(path, headers=AS_ADMIN).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
    assert http.get("/docs").headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("headers", [AS_ADMIN, {}, {"Authorization": "Bearer wrong"}])
def test_answers_to_operators_are_not_kept(http: TestClient, headers: dict[str, str]) -> None:
    for path in ("/admin/models", "/admin/whoami", "/admin/nothing"):
        assert http.get(path, headers=headers).headers["Cache-Control"] == "no-store"
    answer = http.post("/admin/models/rollback", headers=headers)
    assert answer.headers["Cache-Control"] == "no-store"


def test_answers_to_callers_have_no_header_more(http: TestClient) -> None:
    answer = http.post("/recommend", json={"user_id": "u1"}, headers=FOREIGN)
    assert set(answer.headers) == {
        *("content-type", "content-length", "server-timing", "x-model-version", "x-request-id")
    }


@pytest.mark.parametrize("path", PATHS)
def test_other_origins_get_nothing(http: TestClient, path: str) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    preflight = http.options(path, headers={**FOREIGN, **asks})
    assert preflight.status_code == 405
    method = "POST" if path in {"/recommend", "/events"} else "GET"
    answer = http.request(method, path, headers={**FOREIGN, **AS_ADMIN}, json={"user_id": "u1"})
    for headers in (preflight.headers, answer.headers):
        assert not [name for name in headers if name.startswith("access-control")]
