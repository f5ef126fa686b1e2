"""What tests of experiments ask services for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.testclient import TestClient

from model_store.experiment import Experiment
from tests.app.conftest import AS_ADMIN, service_of

USERS = [f"user {number}" for number in range(200)]
HALVES: list[dict[str, Any]] = [
    {"name": "control", "share": 50},
    {"name": "varied", "share": 50, "defaults": {"k": 3}},
]


def admin(http: TestClient, method: str, path: str, body: object = None) -> Any:
    return http.request(method, f"/admin/experiments{path}", headers=AS_ADMIN, json=body)


def ask(http: TestClient, user: str, **fields: Any) -> Any:
    answer = http.post("/recommend", json={"user_id": user, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("X-Arm") == answer.json().get("arm")
    return answer


def ask_all(http: TestClient, users: Sequence[str], **fields: Any) -> dict[str, dict[str, Any]]:
    body = {"requests": [{"user_id": user, "k": 1, **fields} for user in users]}
    answers = http.post("/recommend/batch", json=body).json()["responses"]
    return {answer["user_id"]: answer for answer in answers}


def arms_of(http: TestClient, users: Sequence[str]) -> dict[str, str | None]:
    return {user: answer.get("arm") for user, answer in ask_all(http, users).items()}


def report(http: TestClient, name: str, *services: TestClient) -> dict[str, Any]:
    """The figures, when all services have written theirs."""
    for service in services or (http,):
        assert service.portal is not None
        service.portal.call(service_of(service).write_counts)
    answer = admin(http, "GET", f"/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def click(http: TestClient, answer: dict[str, Any], *ranks: int) -> None:
    events = [
        {
            "user_id": answer["user_id"],
            "item_id": answer["items"][rank - 1]["item_id"],
            "request_id": answer["request_id"],
            "rank": rank,
        }
        for rank in ranks
    ]
    if events:
        assert http.post("/events", json={"events": events}).status_code == 200


def clicks_by_version(services: Sequence[TestClient]) -> dict[str, Any]:
    """The figures, when all services have written theirs."""
    for service in services:
        assert service.portal is not None
        service.portal.call(service_of(service).write_counts)
    answer = services[-1].get("/admin/clicks", headers=AS_ADMIN)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def experiment(name: str = "x") -> Experiment:
    return Experiment.model_validate(
        {"name": name, "salt": name, "since": "2026-01-01T00:00:00+00:00", "arms": HALVES}
    )
