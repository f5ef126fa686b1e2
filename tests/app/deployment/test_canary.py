"""A canary answers its share of the users, always the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from app.deployment.buckets import bucket_of
from model_store.embedded import EmbeddedStore
from tests.app.conftest import (
    AS_ADMIN,
    serving,
    settings_for,
)
from tests.app.deployment.conftest import version_of
from tests.app.deployment.named_models import deployment, post


def test_a_late_joiner_has_the_canary_from_its_first_answer(
    store: EmbeddedStore, two: list[TestClient], second: str, folder: Path
) -> None:
    assert post(two[0], f"{second}/canary", body={"percent": 100}).status_code == 200
    with serving(settings_for(store.url, folder)) as late:
        assert version_of(late) == second
        assert len(deployment(late)["workers"]) == 3


USERS = [f"user {number}" for number in range(200)]


def versions_of(http: TestClient, users: Sequence[str]) -> dict[str, str]:
    body = {"requests": [{"user_id": user, "k": 1} for user in users]}
    answers = http.post("/recommend/batch", json=body).json()["responses"]
    return {answer["user_id"]: answer["model_version"] for answer in answers}


def test_a_canary_has_its_share_of_the_users_and_keeps_them(
    two: list[TestClient], second: str
) -> None:
    def tried(http: TestClient) -> set[str]:
        return {user for user, version in versions_of(http, USERS).items() if version == second}

    assert post(two[0], f"{second}/canary", body={"percent": 20}).json() == {
        "version": second, "percent": 20.0
    }  # fmt: skip
    some = tried(two[0])
    assert 18 <= len(some) <= 62  # 40 expected; four standard deviations
    assert tried(two[1]) == some
    post(two[1], f"{second}/canary", body={"percent": 50})
    more = tried(two[0])
    assert some < more
    assert 72 <= len(more) <= 128
    listed = two[0].get("/admin/models", headers=AS_ADMIN).json()["models"]
    assert [one["state"] for one in listed] == ["serving", "canary"]
    assert deployment(two[0])["canary"]["percent"] == 50

    post(two[0], f"{second}/canary", body={"percent": 0})
    assert tried(two[0]) == set()
    assert deployment(two[0])["canary"] is None
    assert all(one["loaded"] == ["made-1"] for one in deployment(two[0])["workers"])
    # Another canary has other users.
    post(two[0], f"{second}/canary", body={"percent": 20})
    assert tried(two[0]) != some


def test_a_batch_is_answered_by_the_versions_of_its_users(
    two: list[TestClient], second: str
) -> None:
    post(two[0], f"{second}/canary", body={"percent": 50})
    alone = {user: version_of(two[0], user) for user in USERS[:60]}
    assert set(alone.values()) == {"made-1", second}
    body = {"requests": [{"user_id": user, "k": 3} for user in alone] + [{"user_id": 1}]}
    *answers, wrong = two[0].post("/recommend/batch", json=body).json()["responses"]
    assert {answer["user_id"]: answer["model_version"] for answer in answers} == alone
    assert wrong["status"] == 422
    labels = f'arm="",model="default",served_by="popular",status="200",version="{second}"'
    assert f"longtail_batch_entries_total{{{labels}}}" in two[0].get("/metrics").text


def test_a_stateless_request_is_routed_by_its_id(two: list[TestClient], second: str) -> None:
    post(two[0], f"{second}/canary", body={"percent": 50})

    def ask(request_id: str) -> str:
        headers = {"X-Request-ID": request_id}
        answer = two[0].post("/recommend", json={"history": ["i1"]}, headers=headers)
        return str(answer.json()["model_version"])

    answers = [ask(f"session-{number}") for number in range(20)]
    assert set(answers) == {"made-1", second}
    assert [ask(f"session-{number}") for number in range(20)] == answers


def test_a_canary_is_promoted(two: list[TestClient], second: str) -> None:
    rejected = post(two[0], f"{second}/promote")
    assert (rejected.status_code, rejected.json()["detail"]) == (
        409, "version 'made-2' is not the canary (there is none)"
    )  # fmt: skip
    post(two[0], f"{second}/canary", body={"percent": 1})
    assert post(two[1], f"{second}/promote", body={}).json()["active"] == second
    assert {version for http in two for version in versions_of(http, USERS).values()} == {second}
    found = deployment(two[0])
    assert (found["canary"], found["active"]) == (None, second)
    assert found["audit"][0]["what"] == "promote made-2, before made-1"


def test_a_change_that_makes_no_sense_is_rejected(two: list[TestClient], second: str) -> None:
    for path, body, status, said in (
        ("made-1/canary", {"percent": 5}, 409, "is active and answers all users already"),
        ("nothing/canary", {"percent": 5}, 404, "'nothing' is not published"),
        ("made-2/canary", {"percent": 0}, 409, "'made-2' is not the canary (there is none)"),
        ("made-2/canary", {"percent": 101}, 422, "percent: Input should be less than or equal"),
        ("made-2/canary", {"percent": -1}, 422, "percent: Input should be greater than"),
        ("made-2/canary", {"percent": "many"}, 422, "percent: Input should be a valid number"),
        ("made-2/canary", {}, 422, "percent: Field required"),
        ("made-2/canary", {"percent": 5, "share": 1}, 422, "share"),
        ("made-2/activate?force=perhaps", None, 422, "force"),
    ):
        answer = post(two[0], path, body=body)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
    assert deployment(two[0])["canary"] is None


def test_buckets_are_even_and_depend_on_the_salt() -> None:
    buckets = np.array([bucket_of(user, "salt") for user in USERS * 2])
    assert (buckets[:200] == buckets[200:]).all()
    assert abs(buckets[:200].mean() - 5_000) < 1_000
    assert [bucket_of(user, "other") for user in USERS] != buckets[:200].tolist()
