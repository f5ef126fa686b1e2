"""A reranker that is slow, dead or lying costs the reranking alone, over HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.reranking import breaker, cached_reranker
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    PATIENCE_S,
    publish_and_activate,
    settings_for,
    wait_for,
    wait_until_started,
)
from tests.app.reranking.conftest import ask, measure, metric, serving
from tests.app.reranking.fake_reranker import FAULTS, FakeReranker, Fault
from tests.app.store.conftest import stopped


@pytest.fixture
def left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reranker that failed is left alone for longer than a test takes on any machine."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", PATIENCE_S)


@pytest.mark.usefixtures("left_alone")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_reranker_that_fails_costs_the_reranking_alone(
    http: TestClient, reranker: FakeReranker, fault: Fault
) -> None:
    measure(http)
    reranker.fault = fault
    for n in range(2, 12):
        request = {"history": ["i1", f"i{n}"], "k": 20}
        answer = ask(http, **request, rerank="always")
        assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])
        assert answer["items"] == ask(http, **request, rerank="never")["items"]
    # After some failures in a row it is left alone.
    assert metric(http, "longtail_rerank_failures_total") == breaker.MAX_FAILURES
    assert metric(http, "longtail_rerank_breaker_open") == 1
    assert http.get("/health/ready").json()["reranker_reason"]
    # Answers of before are still there.
    assert ask(http, history=["i60", "i59"], rerank="always")["rerank"] == "cached"


def test_a_reranker_that_recovers_is_asked_again(
    http: TestClient, reranker: FakeReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.1)
    measure(http)
    reranker.fault = "fails"
    for n in range(2, 10):
        ask(http, history=["i1", f"i{n}"], rerank="always")
    reranker.fault = None
    wait_for(lambda: ask(http, history=["i9"], rerank="always")["rerank"] in ("fresh", "cached"))
    assert ask(http, history=["i8"], rerank="always")["rerank"] == "fresh"
    assert metric(http, "longtail_rerank_breaker_open") == 0
    assert http.get("/health/ready").json()["reranker_reason"] is None


@pytest.mark.usefixtures("left_alone")
def test_a_hung_reranker_is_waited_for_once_and_then_left_alone(
    url: str, folder: Path, reranker: FakeReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_reranker, "MAX_JOB_S", 2.0)
    with serving(reranker, url, folder, rerank_wait_ms=200, rerank_max_in_flight=4) as http:
        measure(http)
        reranker.hangs = True
        first, *others = [{"history": ["i1", f"i{n}"], "rerank": "always"} for n in range(2, 12)]
        answers = [ask(http, **first)]
        time.sleep(0.3)  # its job, which began after the request, is late by any request's limit
        # Together, so that no job has ended when the last of them is asked.
        batch = http.post("/recommend/batch", json={"requests": others}).json()
        answers += batch["responses"]
        for answer in answers:
            assert len(answer["items"]) == 10
            assert (answer["rerank"] == "skipped") == (answer["degraded"] == ["rerank"])
        outcomes = [answer["rerank"] for answer in answers]
        # Four are in flight, and the second is not waited for when the first is late.
        assert outcomes == ["timed_out", *["pending"] * 3, *["skipped"] * 6]
        wait_for(lambda: metric(http, "longtail_rerank_failures_total") == 4)
        assert metric(http, "longtail_rerank_breaker_open") == 1
        assert metric(http, "longtail_rerank_in_flight") == 0
        n_before = len(reranker.jobs)
        assert ask(http, history=["i1", "i40"], rerank="always")["rerank"] == "skipped"
        assert len(reranker.jobs) == n_before
        reranker.hangs = False
        monkeypatch.setattr(breaker, "monotonic", lambda: time.monotonic() + PATIENCE_S)
        wait_for(lambda: ask(http, history=["i8"], rerank="always")["rerank"] != "skipped")


def test_a_reranker_that_is_not_ready_is_named(http: TestClient, reranker: FakeReranker) -> None:
    reranker.ready = False
    answer = ask(http, history=["i1"], rerank="always")
    assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])
    assert http.get("/health/ready").json()["reranker"] == "loading"
    reranker.ready = True
    assert http.get("/health/ready").json()["reranker"] == "ready"
    [model] = http.get("/admin/models", headers=AS_ADMIN).json()["models"]
    assert model["reranker"] == "ready"
    assert ask(http, history=["i1"], rerank="always")["rerank"] == "pending"


def test_a_reranker_that_cannot_be_loaded_is_named(url: str, folder: Path) -> None:
    reranker = FakeReranker()
    reranker.load_error = "the graph is damaged"
    with serving(reranker, url, folder) as http:
        wait_for(lambda: http.get("/health/ready").json()["reranker"] == "failed")
        ready = http.get("/health/ready").json()
        assert ready["reranker_reason"] == "the graph is damaged"
        answer = ask(http, history=["i1"], rerank="always")
        assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])


def test_a_bundle_without_a_reranker_says_so(
    store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path
) -> None:
    publish_and_activate(synthetic_bundle, folder, store.url)
    reranker = FakeReranker()
    reranker.folders["another"] = folder
    with serving(reranker, store.url, folder) as http:
        answer = ask(http, history=["i1"], rerank="always")
        assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])
        assert http.get("/health/ready").json()["reranker"] == "none"
        assert reranker.jobs == []


def test_a_reranker_that_waits_for_the_store_says_so(
    url: str, folder: Path, reranker: FakeReranker
) -> None:
    """Who was forgotten may not stand in its prompts."""
    app = create_app(settings_for(url, folder), reranker=reranker)
    with connect(url) as client:
        client.set(keys.FORGOTTEN, "damaged")
        with TestClient(app) as http:
            wait_until_started(app)
            ready = http.get("/health/ready").json()
            assert ready["reranker"] == "loading"
            assert ready["reranker_reason"].startswith("who was forgotten isn't known yet: ")
            assert not reranker.folders
            client.delete(keys.FORGOTTEN)
            wait_for(lambda: http.get("/health/ready").json()["reranker"] == "ready")
            assert http.get("/health/ready").json()["reranker_reason"] is None


@pytest.mark.alone
def test_a_store_that_hangs_makes_no_answer_late(
    rerank_bundle: Bundle, folder: Path, reranker: FakeReranker
) -> None:
    with EmbeddedStore(folder / "store", fsync="everysec") as store:
        publish_and_activate(rerank_bundle, folder, store.url)
        with serving(reranker, store.url, folder, rerank_wait_ms=50) as http:
            measure(http)
            with stopped(store):
                for n in range(2, 8):
                    request = {"history": ["i1", f"i{n}"], "rerank": "always"}
                    started = time.perf_counter()
                    answer = ask(http, **request, deadline_ms=40)
                    assert time.perf_counter() - started < 0.3
                    assert answer["timings_ms"]["total"] < 300
                    assert answer["rerank"] in ("pending", "fresh")
                wait_for(lambda: ask(http, **request)["rerank"] == "cached")  # from memory
