"""The reranker of a canary is loaded while requests come: neither version is to suffer."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

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


def try_second(http: TestClient, url: str, folder: Path, tmp_path: Path) -> None:
    other = make_bundle(
        tmp_path / "2", version="rerank-2", catalogue=make_catalogue(seed=8), with_reranker=True
    )
    with connect(url) as client:
        publish(other, folder / "bundles", client)
    tried = http.post("/admin/models/rerank-2/canary", headers=AS_ADMIN, json={"percent": 50})
    assert tried.status_code == 200, tried.text


def test_answers_without_reranking_count_once_the_reranker_is_there_or_cannot_be(
    url: str, folder: Path, tmp_path: Path
) -> None:
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=1) as http:
        reranker.loads = True
        try_second(http, url, folder, tmp_path)
        service = service_of(http)
        epoch = service.models.routing.trial.epoch
        assert without_reranking(http) > 5
        counts = service.canary_watch._counts[epoch]
        assert counts.canary.answers > 5
        assert counts.canary.degraded == counts.active.degraded == 0
        reranker.load_error, reranker.loads = "it is damaged", False
        wait_for(lambda: not service._is_reranker_loading(service.models.second))
        n_lacking = without_reranking(http)
        assert counts.canary.degraded == n_lacking > 5


def test_a_reranker_that_is_being_loaded_takes_nothing_from_the_active_version(
    url: str, folder: Path, tmp_path: Path
) -> None:
    reranker = SecondLoads()
    with serving(reranker, url, folder, rerank_max_in_flight=6) as http:
        measure(http)
        reranker.loads = True
        try_second(http, url, folder, tmp_path)
        assert len(outcomes_of_the_active(http)) > 5
        held = service_of(http).reranker._in_flight
        assert len(held) == 6
        assert set(outcomes_of_the_active(http)) <= {"fresh", "cached"}
        reranker.load_error, reranker.loads = "it is damaged", False
        wait_for(lambda: not held)
        assert set(outcomes_of_the_active(http, first=31)) == {"fresh"}
        assert http.get("/health/ready").json()["reranker_reason"] is None


def outcomes_of_the_active(http: TestClient, first: int = 1) -> list[str]:
    answers = [
        ask(http, user_id=f"user {n}", history=[f"i{n}"], rerank="always")
        for n in range(first, first + 30)
    ]
    return [one["rerank"] for one in answers if one["model_version"] == "rerank-1"]


def without_reranking(http: TestClient) -> int:
    """How many of some answers of the canary lack their reranking."""
    answers = [
        ask(http, user_id=f"user {n}", history=[f"i{n}"], rerank="always") for n in range(1, 31)
    ]
    lacking = [one for one in answers if one["degraded"] == ["rerank"]]
    assert {one["model_version"] for one in lacking} == {"rerank-2"}
    return len(lacking)
