"""Every outcome of reranking, over HTTP, with a reranker that answers at once or late."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.reranking import policy
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.forgotten import digest_of_user
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.people import forget
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    PATIENCE_S,
    publish_and_activate,
    service_of,
    settings_for,
    wait_for,
    wait_until_started,
)
from tests.app.reranking.conftest import ask, ids_of, measure, metric, reranker_state, serving
from tests.app.reranking.fake_reranker import FakeReranker
from tests.synthetic_bundle import GENRES, Catalogue, make_bundle, make_catalogue
from tests.synthetic_reranker import LAYOUT


def tail_and_head(bundle: Bundle, catalogue: Catalogue) -> tuple[str, str]:
    """The users with the shortest and the longest history."""
    assert bundle.manifest.reranker is not None
    lengths = {user: len(items) for user, items in catalogue.histories.items()}
    tail, head = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    assert bundle.manifest.reranker.weighting.is_tail(lengths[tail])
    assert not bundle.manifest.reranker.weighting.is_tail(lengths[head])
    return tail, head


# --- who is reranked ---------------------------------------------------------------------------


def test_auto_asks_for_tail_users_only(
    http: TestClient, reranker: FakeReranker, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    tail, head = tail_and_head(rerank_bundle, catalogue)
    for rerank, user, is_asked in (
        ("never", tail, False),
        ("auto", head, False),
        ("auto", tail, True),
        ("always", head, True),
    ):
        reranker.jobs.clear()
        answer = ask(http, user_id=user, rerank=rerank)
        assert answer["degraded"] == []
        assert (answer["rerank"] != "skipped") == is_asked
        assert len(reranker.jobs) == is_asked
    assert ask(http, user_id=tail)["rerank"] == "cached"


def test_a_withdrawn_item_does_not_come_back_from_the_cache(
    http: TestClient, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    tail, _ = tail_and_head(rerank_bundle, catalogue)

    def asked() -> list[str]:
        return ids_of(ask(http, user_id=tail))

    wait_for(lambda: ask(http, user_id=tail)["rerank"] == "cached")
    before = asked()
    for available in (False, True):
        items = [{"item_id": before[0], "available": available}]
        assert http.put("/admin/items", json={"items": items}, headers=AS_ADMIN).status_code == 200
        wait_for(lambda: (before[0] in asked()) == available)  # noqa: B023 - called at once
        assert len(asked()) == len(before)
    wait_for(lambda: asked() == before)


def test_a_job_waits_for_a_reranker_that_is_being_loaded(
    reranker: FakeReranker, url: str, folder: Path
) -> None:
    reranker.loads = True
    app = create_app(settings_for(url, folder, rerank_wait_ms=10_000), reranker=reranker)
    with TestClient(app) as http:
        wait_until_started(app)
        started_s = time.monotonic()
        # From the first answer on, and without waiting for that.
        assert ask(http, history=["i1"], rerank="always")["rerank"] == "pending"
        assert time.monotonic() - started_s < 1
        assert not reranker.jobs
        reranker.loads = False
        wait_for(lambda: ask(http, history=["i1"], rerank="always")["rerank"] == "cached")


def test_a_job_ends_with_a_load_that_fails(reranker: FakeReranker, url: str, folder: Path) -> None:
    reranker.loads = True
    app = create_app(settings_for(url, folder), reranker=reranker)
    with TestClient(app) as http:
        wait_until_started(app)
        assert ask(http, history=["i1"], rerank="always")["rerank"] == "pending"
        reranker.load_error, reranker.loads = "it is damaged", False
        wait_for(lambda: reranker_state(http) == "failed")
        wait_for(lambda: metric(http, "longtail_rerank_in_flight") == 0)
        answer = ask(http, history=["i1"], rerank="always")
        assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])


@pytest.mark.parametrize(
    "request_",
    [
        {"user_id": "nobody"},
        {"history": []},
        {"interests": "comedy"},
        {"history": ["unknown"]},
        {"history": ["i1"], "candidates": ["i2"]},
        {"history": ["i1"], "candidates": []},
    ],
)
def test_without_a_history_or_a_choice_there_is_nothing_to_ask(
    http: TestClient, reranker: FakeReranker, request_: dict[str, Any]
) -> None:
    always, auto = (ask(http, **request_, rerank=rerank) for rerank in ("always", "auto"))
    assert always["rerank"] == auto["rerank"] == "skipped"
    assert always["degraded"] == [*auto["degraded"], "rerank"]
    assert ids_of(always) == ids_of(auto)
    assert reranker.jobs == []


def test_a_job_has_the_window_of_the_history_and_the_first_allowed_items(
    http: TestClient, reranker: FakeReranker, catalogue: Catalogue
) -> None:
    history = [f"i{n}" for n in range(1, 60)] * 2
    request = {"history": history, "exclude_seen": False, "exclude": ["i7"], "k": 3}
    base = ask(http, **{**request, "k": LAYOUT.n_candidates}, rerank="never")
    ask(http, **request, user_id="somebody", rerank="always")
    [job] = reranker.jobs
    assert (job.version, job.user_id) == ("rerank-1", "somebody")
    assert job.history == tuple(catalogue.ids.indices(history[-50:])[0].tolist())
    assert job.candidates == tuple(catalogue.ids.indices(ids_of(base))[0].tolist())
    assert "i7" not in ids_of(base)


def test_fresh_items_keep_their_ranks_as_the_reranker_does_not_know_them(
    http: TestClient, reranker: FakeReranker, url: str
) -> None:
    measure(http)
    random = np.random.default_rng(7)
    vectors = random.normal(size=(8, len(GENRES))).astype(np.float32)
    fresh = [
        FreshItem(f"fresh-{n}", vector / np.linalg.norm(vector), {"title": f"Fresh {n}"})
        for n, vector in enumerate(vectors)
    ]
    with connect(url) as client:
        publish_fresh(fresh, client, encoder="made")
    wait_for(lambda: http.get("/health/ready").json()["fresh_items"] == len(fresh))
    n_mixed = 0
    for n in range(1, 20):
        request = {"history": [f"i{n}", "fresh-3"], "k": LAYOUT.n_candidates}
        base = ids_of(ask(http, **request, rerank="never"))
        n_fresh = sum(item.startswith("fresh") for item in base)
        reranker.jobs.clear()
        answer = ask(http, **request, rerank="always")
        if n_fresh > len(base) - 2:
            assert answer["rerank"] == "skipped"
            continue
        n_mixed += n_fresh > 0
        assert answer["rerank"] == "fresh"
        [job] = reranker.jobs
        assert job.history == (n,)
        assert job.candidates == tuple(int(i[1:]) for i in base if not i.startswith("fresh"))
        assert sorted(ids_of(answer)) == sorted(base)
        for rank, item in enumerate(base):
            assert not item.startswith("fresh") or ids_of(answer)[rank] == item
    assert n_mixed >= 3


# --- when it answers -----------------------------------------------------------------------------


def test_pending_then_cached_then_fresh(http: TestClient, reranker: FakeReranker) -> None:
    base = ask(http, history=["i1", "i2"], rerank="never")
    first = ask(http, history=["i1", "i2"], rerank="always")
    assert (first["rerank"], ids_of(first)) == ("pending", ids_of(base))  # nothing is measured yet
    cached = ask(http, history=["i1", "i2"], rerank="always")
    assert cached["rerank"] == "cached"
    assert len(reranker.jobs) == 1
    fresh = ask(http, history=["i1", "i3"], rerank="always")
    assert fresh["rerank"] == "fresh"
    again = ask(http, history=["i1", "i3"], rerank="always")
    assert (again["rerank"], again["items"]) == ("cached", fresh["items"])
    for answer in (first, cached, fresh, again):
        assert answer["degraded"] == []
        assert len(answer["items"]) == 10
        assert answer["timings_ms"]["rerank"] > 0
    assert base["timings_ms"]["rerank"] == 0
    for outcome, n in (("cached", 2), ("fresh", 1), ("timed_out", 0)):
        labels = f'arm="",outcome="{outcome}",version="rerank-1"'
        assert f"longtail_rerank_outcomes_total{{{labels}}} {n}.0" in http.get("/metrics").text
    assert metric(http, "longtail_rerank_seconds_count") == 2
    assert metric(http, "longtail_rerank_in_flight") == 0
    wait_for(lambda: metric(http, "longtail_rerank_cached_total") == 2)


@pytest.mark.alone
def test_timed_out_then_pending_then_cached(url: str, folder: Path, reranker: FakeReranker) -> None:
    with serving(reranker, url, folder, rerank_wait_ms=50) as http:
        measure(http)
        reranker.delay_s = 1.0
        n_before = len(reranker.jobs)
        started = time.perf_counter()
        late = ask(http, history=["i1", "i2"], rerank="always")
        took_s = time.perf_counter() - started
        assert late["rerank"] == "timed_out"
        assert 0.045 < took_s < 0.4
        time.sleep(0.3)
        # It is late already, and expected to be so for as long again.
        assert ask(http, history=["i1", "i2"], rerank="always")["rerank"] == "pending"
        assert len(reranker.jobs) == n_before + 1
        wait_for(lambda: ask(http, history=["i1", "i2"], rerank="always")["rerank"] == "cached")
        assert len(reranker.jobs) == n_before + 1
        # By then the estimate says that an answer takes longer than a request may wait.
        for n in range(20, 30):
            last = ask(http, history=["i1", f"i{n}"], rerank="always")["rerank"]
        assert last in ("pending", "skipped")


@pytest.mark.alone
def test_a_deadline_shortens_the_wait(http: TestClient, reranker: FakeReranker) -> None:
    measure(http)
    reranker.delay_s = 1.0
    started = time.perf_counter()
    answer = ask(http, history=["i1", "i2"], rerank="always", deadline_ms=60)
    assert answer["rerank"] == "timed_out"
    assert time.perf_counter() - started < 0.5
    assert answer["timings_ms"]["total"] < 300
    reranker.delay_s = 0.0
    at_once = ask(http, history=["i1", "i4"], rerank="always", deadline_ms=1)
    assert at_once["rerank"] == "pending"  # no time to wait at all
    wait_for(lambda: ask(http, history=["i1", "i4"], rerank="always")["rerank"] == "cached")


def test_no_wait_at_all_still_fills_the_cache(
    url: str, folder: Path, reranker: FakeReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever this machine takes for a look at the store, where a request goes on after 5 ms.
    monkeypatch.setattr(policy, "LOOK_UP_S", PATIENCE_S)
    with serving(reranker, url, folder, rerank_wait_ms=0) as http:
        for history in (["i1"], ["i2"], ["i3"]):
            assert ask(http, history=history, rerank="always")["rerank"] == "pending"
            wait_for(lambda h=history: ask(http, history=h, rerank="always")["rerank"] == "cached")
        # That was from memory: the store has them a little later.
        wait_for(lambda: metric(http, "longtail_rerank_cached_total") == 3)
    # A worker that remembers nothing finds them in the store.
    with serving(FakeReranker(), url, folder, rerank_wait_ms=0) as http:
        assert ask(http, history=["i1"], rerank="always")["rerank"] == "cached"


def test_equal_jobs_are_asked_once(http: TestClient, reranker: FakeReranker) -> None:
    measure(http)
    reranker.delay_s, n_before = 0.1, len(reranker.jobs)
    requests = [
        {"history": ["i1", "i2"], "rerank": "always", "k": k, "user_id": f"new-{k}"}
        for k in (1, 3, 5, 1)
    ]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    assert [answer["rerank"] for answer in answers] == ["fresh"] * 4
    assert len(reranker.jobs) == n_before + 1
    assert ids_of(answers[0]) == ids_of(answers[2])[:1]


def test_a_batch_is_looked_up_in_one_round_trip(
    http: TestClient, reranker: FakeReranker, store: EmbeddedStore
) -> None:
    def n_reads() -> int:
        with connect(store.url) as client:
            stats: Any = client.info("commandstats")
        return int(stats.get("cmdstat_hmget", {}).get("calls", 0))

    measure(http)
    requests = [{"history": [f"i{n}", "i1"], "rerank": "always"} for n in range(2, 12)]
    before = n_reads()
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    assert n_reads() == before + 1
    assert {answer["rerank"] for answer in answers} == {"fresh"}
    alone = [ask(http, **request) for request in requests]
    assert [answer["rerank"] for answer in alone] == ["cached"] * 10
    assert [ids_of(answer) for answer in alone] == [ids_of(answer) for answer in answers]
    assert n_reads() == before + 1  # from memory


def test_a_batch_mixes_all_kinds(
    http: TestClient, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    measure(http)
    tail, head = tail_and_head(rerank_bundle, catalogue)
    requests = [
        {"user_id": tail},
        {"user_id": head},
        {"user_id": head, "rerank": "always"},
        {"interests": "comedy", "rerank": "always"},
        {"user_id": tail, "rerank": "never"},
    ]
    answers = http.post("/recommend/batch", json={"requests": requests}).json()["responses"]
    assert [answer["rerank"] for answer in answers] == [
        *("fresh", "skipped", "fresh", "skipped", "skipped")
    ]
    assert [answer["degraded"] for answer in answers] == [[], [], [], ["rerank"], []]


def test_waiting_for_the_reranker_is_not_load(
    url: str, folder: Path, reranker: FakeReranker
) -> None:
    with serving(reranker, url, folder) as http:
        measure(http)
        reranker.delay_s = 0.3
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(ask, http, history=["i1", "i2"], rerank="always")
            wait_for(lambda: service_of(http).admission.n_idle == 1)
            assert service_of(http).admission.count() == 0
            assert waiting.result()["rerank"] == "fresh"
        assert service_of(http).admission.n_idle == 0


# --- the cache -----------------------------------------------------------------------------------


def test_another_worker_finds_the_answer(url: str, folder: Path) -> None:
    first, second = FakeReranker(), FakeReranker()
    second.hangs = True
    with serving(first, url, folder) as http:
        ask(http, history=["i1", "i2"], rerank="always")
        wait_for(lambda: metric(http, "longtail_rerank_cached_total") == 1)
        expected = ask(http, history=["i1", "i2"], rerank="always")
    with serving(second, url, folder) as http:
        answer = ask(http, history=["i1", "i2"], rerank="always", explain=True)
        assert answer["rerank"] == "cached"
        assert ids_of(answer) == ids_of(expected)
        assert answer["items"][0]["explanation"]["rerank"]["similar_user"] == "u3"
        assert second.jobs == []


def test_the_reranker_is_told_who_is_forgotten_of_all_times(url: str, folder: Path) -> None:
    reranker = FakeReranker()
    with connect(url) as client:
        forget("u1", client)
    with serving(reranker, url, folder) as http:
        assert reranker.forgotten == {digest_of_user("u1")}
        assert http.delete("/users/u2", headers=AS_ADMIN).status_code == 200
        assert reranker.forgotten == {digest_of_user("u1"), digest_of_user("u2")}


def test_without_a_reranker_the_cache_is_not_read(url: str, folder: Path) -> None:
    """No reranker, no reranking: the answers of one that is turned off are out of use."""
    with serving(None, url, folder) as http:
        answer = ask(http, history=["i1"], rerank="always")
        assert (answer["rerank"], answer["degraded"]) == ("skipped", ["rerank"])
        answer = ask(http, history=["i1"])
        assert (answer["rerank"], answer["degraded"]) == ("skipped", [])
        ready = http.get("/health/ready").json()
        assert (ready["reranker"], ready["reranker_reason"]) == ("off", None)


def test_another_version_has_answers_of_its_own_which_go_with_it(
    url: str, folder: Path, reranker: FakeReranker, tmp_path: Path
) -> None:
    with serving(reranker, url, folder) as http, connect(url) as client:
        ask(http, history=["i1", "i2"], rerank="always")
        wait_for(lambda: ask(http, history=["i1", "i2"], rerank="always")["rerank"] == "cached")
        wait_for(lambda: bool(client.keys("lt:v:rerank-1:rerank*")))
        other = make_bundle(
            tmp_path / "other",
            version="rerank-2",
            catalogue=make_catalogue(seed=8),
            with_reranker=True,
        )
        publish_and_activate(other, folder, url)
        wait_for(lambda: http.get("/health/ready").json()["version"] == "rerank-2")
        wait_for(lambda: "rerank-2" in reranker.folders)
        assert reranker.folders["rerank-2"] == folder / "bundles" / "rerank-2"
        n_before = len(reranker.jobs)
        ask(http, history=["i1", "i2"], rerank="always")
        assert [job.version for job in reranker.jobs[n_before:]] == ["rerank-2"]
        Registry(client).retire("rerank-1")
        assert client.keys("lt:v:rerank-1:*") == []
