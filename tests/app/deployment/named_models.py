"""Calls of operators about versions under names."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from model_store.deployments import DEFAULT
from tests.app.conftest import AS_ADMIN


def post(http: TestClient, path: str, model: str = DEFAULT, body: object = None) -> Any:
    # None, as an empty mapping would take away what the path asks.
    params = None if model == DEFAULT else {"model": model}
    return http.post(f"/admin/models/{path}", headers=AS_ADMIN, params=params, json=body)


def deployment(http: TestClient, model: str = DEFAULT) -> dict[str, Any]:
    answer = http.get("/admin/deployment", headers=AS_ADMIN, params={"model": model})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
