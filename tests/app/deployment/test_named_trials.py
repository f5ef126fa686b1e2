"""Canary, shadow, experiment and metrics of a name, also for `POST /ratings`."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.deployment.buckets import N_BUCKETS, bucket_of
from model_store.deployment import who
from tests.app.conftest import AS_ADMIN, service_of, wait_for
from tests.app.deployment.named_models import deployment, post
from tests.app.telemetry.test_metrics import metric

USERS = [f"u{n}" for n in range(1, 41)]


def rate(http: TestClient, model: str, user_id: str = "u3") -> Any:
    body = {"model": model, "user_id": user_id, "item_ids": ["i1", "i2"]}
    return http.post("/ratings", json=body)


def test_a_canary_of_a_name_rates_its_share_and_is_counted(
    named_pair: list[TestClient], name: str
) -> None:
    answer = post(named_pair[0], "rated-2/canary", name, {"percent": 50})
    assert answer.status_code == 200, answer.text
    found = deployment(named_pair[1], name)["canary"]
    taken = {user for user in USERS if bucket_of(user, found["salt"]) < N_BUCKETS / 2}
    for http in named_pair:
        versions = {user: rate(http, name, user).headers["X-Model-Version"] for user in USERS}
        assert versions == {user: "rated-2" if user in taken else "rated-1" for user in USERS}
        counts = service_of(http).canary_watch._counts[found["epoch"]]
        assert (counts.active.answers, counts.canary.answers) == (40 - len(taken), len(taken))
        assert counts.active.errors == counts.canary.errors == 0
    # Nobody of the default is in it.
    asked = {"requests": [{"user_id": user} for user in USERS]}
    answers = named_pair[0].post("/recommend/batch", json=asked).json()["responses"]
    assert {one["model_version"] for one in answers} == {"made-1"}
    assert deployment(named_pair[0])["canary"] is None
    assert post(named_pair[0], "rated-2/promote", name).json()["active"] == "rated-2"
    assert {rate(named_pair[1], name, user).headers["X-Model-Version"] for user in USERS} == {
        "rated-2"
    }


def test_a_canary_that_predicts_no_ratings_is_taken_back(
    named_pair: list[TestClient], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(named_pair[0], "made-2/canary", name, {"percent": 50})
    assert answer.status_code == 200, answer.text
    assert {rate(named_pair[0], name, user).status_code for user in USERS * 2} == {200, 409}
    wait_for(lambda: deployment(named_pair[0], name)["canary"] is None)
    entry = deployment(named_pair[0], name)["audit"][0]
    assert (entry["who"], entry["why"]) == (who(), "the canary's verdict")
    assert "take the canary back: made-2: errors" in entry["what"]
    wait_for(lambda: {rate(named_pair[0], name, user).status_code for user in USERS} == {200})


def test_a_shadow_of_a_name_answers_its_recommendations_unseen(
    named_pair: list[TestClient], name: str
) -> None:
    http = named_pair[0]
    assert post(http, "rated-2/shadow", name, {"share": 100}).status_code == 200
    queue = service_of(http).shadow

    def counted() -> float:
        return metric(http, 'longtail_shadow_total{outcome="answered"}') or 0.0

    before = counted()

    def ask() -> bool:
        body = {"user_id": "u3", "model": name}
        assert http.post("/recommend", json=body).json()["model_version"] == "rated-1"
        return counted() > before

    wait_for(ask)
    states = http.get("/admin/models", headers=AS_ADMIN).json()["models"]
    assert [one["state"] for one in states if one["version"] == "rated-2"] == [f"shadow as {name}"]
    wait_for(lambda: not queue.user_ids)  # those who asked last are answered later
    answered = counted()
    http.post("/recommend", json={"user_id": "u3"})  # the default has no shadow
    assert queue.user_ids == set()
    assert counted() == answered


def test_an_experiment_of_a_name_counts_its_own_answers_and_clicks(
    named_pair: list[TestClient], name: str
) -> None:
    http = named_pair[0]
    arms = [
        {"name": "old", "share": 50},
        {"name": "new", "share": 50, "version": "rated-2"},
    ]
    body = {"name": name, "arms": arms}
    path = f"/admin/experiments?model={name}"
    assert http.post(path, headers=AS_ADMIN, json=body).status_code == 200
    shown = {user: rate(http, name, user).json() for user in USERS}
    assert {(one["arm"], one["model_version"]) for one in shown.values()} == {
        ("old", "rated-1"),
        ("new", "rated-2"),
    }
    assert "arm" not in http.post("/recommend", json={"user_id": "u1"}).json()
    events = [
        {"user_id": "u1", "item_id": "i1", "request_id": shown["u1"]["request_id"], "model": name},
        {"user_id": "u2", "item_id": "i1", "request_id": "of-a-recommendation"},
    ]
    assert http.post("/events", json={"events": events}).status_code == 200
    assert http.portal is not None
    http.portal.call(service_of(http).write_counts)
    found = http.get(f"/admin/experiments/{name}", headers=AS_ADMIN).json()["arms"]
    assert {arm["name"]: arm["exposures"] for arm in found} == {
        arm: sum(one["arm"] == arm for one in shown.values()) for arm in ("old", "new")
    }
    # What follows answers of the default is no click of this experiment.
    assert {arm["name"]: arm["clicks"] for arm in found} == {
        arm: shown["u1"]["arm"] == arm for arm in ("old", "new")
    }
    # A person who is forgotten is in no name's figures.
    assert http.delete("/users/u2", headers=AS_ADMIN).json()["counts"] == 1
    ended = http.delete(f"/admin/experiments/{name}", headers=AS_ADMIN)
    assert ended.json()["stopped"] is not None


def test_answers_are_counted_by_the_name(named_pair: list[TestClient], name: str) -> None:
    rate(named_pair[0], name)
    asked = {"requests": [{"user_id": "u1"}, {"user_id": "u1", "model": name}, {"k": 0}]}
    assert named_pair[0].post("/recommend/batch", json=asked).status_code == 200
    shown = named_pair[0].get("/metrics").text
    under = f'arm="",model="{name}"'
    answered = 'served_by="rating",status="200",version="rated-1"'
    assert f'longtail_requests_total{{{under},route="/ratings",{answered}}} 1.0' in shown
    assert f"longtail_batch_entries_total{{{under},{answered}}} 1.0" in shown
    seconds = f'longtail_request_seconds_count{{{under},route="/ratings",version="rated-1"}} 1.0'
    assert seconds in shown
    workers = f'longtail_model_workers{{model="{name}",version="rated-1"}}'
    assert f"{workers} 1.0" in shown
    assert 'longtail_model_workers{model="default",version="made-1"} 1.0' in shown
    # A name that nobody gave adds no series.
    rate(named_pair[0], "nobody")
    assert 'model="nobody"' not in named_pair[0].get("/metrics").text
    post(named_pair[0], "deactivate", name)
    assert f"{workers} 0.0" in named_pair[0].get("/metrics").text
