"""The reranker of a canary is loaded while requests come: neither version is to suffer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import service
from app.deployment import canary_watch
from app.reranking import breaker
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import AS_ADMIN, service_of, wait_for
from tests.app.reranking.conftest import ask, measure, serving
from tests.app.reranking.fake_reranker import FakeReranker
from tests.synthetic_bundle import make_bundle, make_catalogue


class SecondLoads(FakeReranker):
    """The version that is tried is being loaded for as long as `loads` is true."""

    def is_loading(self, version: str) -> bool:
        return version == "rerank-2" and super().is_loading(version)

    async def loaded(self, version: str) -> None:
        if version == "rerank-2":
            await super().loaded(version)


def try_second(
    http: TestClient, reranker: FakeReranker, url: str, folder: Path, tmp_path: Path
) -> None:
    other = make_bundle(
        tmp_path / "2", version="rerank-2", catalogue=make_catalogue(seed=8), with_reranker=True
    )
    with connect(url) as client:
        publish(other, folder / "bundles", client)
    tried = http.post("/admin/models/rerank-2/canary", headers=AS_ADMIN, json={"percent": 50})
    assert tried.status_code == 200, tried.text
    # The canary answers before its reranker's load begins, and jobs asked until then are not held.
    wait_for(lambda: "rerank-2" in reranker.folders)


def test_answers_without_reranking_count_once_the_reranker_is_there_or_cannot_be(
    url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_S", 60.0)  # it isn't taken back meanwhile
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=1) as http:
        reranker.loads = True
        try_second(http, reranker, url, folder, tmp_path)
        served = service_of(http)
        epoch = served.models.routing.trial.epoch
        assert without_reranking(http) > 5
        counts = served.canary_watch._counts[epoch]
        wait_for(lambda: counts.canary.answers == counts.canary.unready > 5)
        assert counts.canary.degraded == counts.active.degraded == counts.active.unready == 0
        reranker.load_error, reranker.loads = "it is damaged", False
        # A job that was held may learn of it first; until the one who loads does, it still loads.
        wait_for(lambda: served._second_reranker_loading.reason == "it is damaged")
        n_unready, n_lacking = counts.canary.unready, without_reranking(http)
        assert n_lacking > 5
        wait_for(lambda: counts.canary.degraded == n_lacking)  # the last is counted once it is sent
        assert counts.canary.unready == n_unready


def test_a_reranker_that_is_never_loaded_counts_in_the_end(
    url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that ends its process each time."""
    monkeypatch.setattr(service, "LOOK_S", 60.0)
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=1) as http:
        reranker.loads = True
        monkeypatch.setattr(canary_watch, "MAX_LOADING_S", 0.0)
        try_second(http, reranker, url, folder, tmp_path)
        served = service_of(http)
        counts = served.canary_watch._counts_of(served.models.routing.trial.epoch)
        n_lacking = without_reranking(http)
        assert n_lacking > 5
        wait_for(lambda: counts.canary.degraded == n_lacking)
        assert counts.canary.unready == 0
        reranker.loads = False


def test_a_reranker_that_is_being_loaded_takes_nothing_from_the_active_version(
    url: str, folder: Path, tmp_path: Path
) -> None:
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=6) as http:
        measure(http)
        reranker.loads = True
        try_second(http, reranker, url, folder, tmp_path)
        assert len(outcomes_of_the_active(http)) > 5
        held = service_of(http).reranker._in_flight
        assert len(held) == 6
        assert set(outcomes_of_the_active(http)) <= {"fresh", "cached"}
        reranker.load_error, reranker.loads = "it is damaged", False
        wait_for(lambda: not held)
        assert set(outcomes_of_the_active(http, first=31)) == {"fresh"}
        assert http.get("/health/ready").json()["reranker_reason"] is None


def test_a_job_that_waits_for_a_load_is_no_trial_of_a_reranker_that_failed(
    url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 0.1)
    reranker = SecondLoads()
    with serving(reranker, url, folder) as http:
        measure(http)
        reranker.loads = True
        try_second(http, reranker, url, folder, tmp_path)
        reranker.fault = "fails"
        outcomes_of_the_active(http)
        state = service_of(http).reranker
        assert state.paused_reason == "it fails"
        reranker.fault = None
        time.sleep(0.2)
        for n in range(31, 61):
            if version_for(http, n) == "rerank-2":
                assert ask_as(http, n)["rerank"] in ("pending", "skipped")
        assert state.paused_reason == "it fails"
        assert set(outcomes_of_the_active(http, first=31)) == {"fresh"}
        assert state.paused_reason is None
        reranker.loads = False


def test_no_more_jobs_are_asked_after_a_load_than_at_any_other_time(
    url: str, folder: Path, tmp_path: Path
) -> None:
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=4, rerank_wait_ms=25) as http:
        measure(http)
        reranker.loads = True
        try_second(http, reranker, url, folder, tmp_path)
        reranker.hangs = True
        reranker.jobs.clear()
        flights = service_of(http).reranker._in_flight
        of_the_active = [n for n in range(1, 31) if version_for(http, n) == "rerank-1"]
        for n in of_the_active[:2]:
            assert ask_as(http, n)["rerank"] in ("pending", "timed_out")
        for n in set(range(1, 31)).difference(of_the_active):
            ask_as(http, n)
        assert sorted(one.is_held for one in flights.values()) == [False] * 2 + [True] * 4
        reranker.loads = False
        wait_for(lambda: not any(one.is_held for one in [*flights.values()]))
        versions = [job.version for job in reranker.jobs]
        assert versions == ["rerank-1"] * 2 + ["rerank-2"] * 2
        assert len(flights) == 4
        assert service_of(http).reranker.paused_reason is None
        reranker.hangs = False


def version_for(http: TestClient, n: int) -> str:
    """The version that answers a user, who is not reranked for it."""
    return str(ask(http, user_id=f"user {n}", rerank="never")["model_version"])


def ask_as(http: TestClient, n: int) -> dict[str, Any]:
    return ask(http, user_id=f"user {n}", history=[f"i{n}"], rerank="always")


def outcomes_of_the_active(http: TestClient, first: int = 1) -> list[str]:
    answers = [ask_as(http, n) for n in range(first, first + 30)]
    return [one["rerank"] for one in answers if one["model_version"] == "rerank-1"]


def without_reranking(http: TestClient) -> int:
    """How many of some answers of the canary lack their reranking."""
    answers = [ask_as(http, n) for n in range(1, 31)]
    lacking = [one for one in answers if one["degraded"] == ["rerank"]]
    assert {one["model_version"] for one in lacking} == {"rerank-2"}
    return len(lacking)
