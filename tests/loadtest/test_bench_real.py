"""The benchmark's sections against the real service, very short, with tiny bundles."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from loadtest.bench.plan import QUICK, K
from loadtest.bench.rig import Rig
from loadtest.bench.sections import NAMES, choose_sections, run_sections
from tests.loadtest.tiny_bundles import N_ITEMS, TinyBundles

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PLAN = replace(
    QUICK,
    rounds=2,
    survey_rounds=1,
    saturated_s=0.15,
    single_s=0.1,
    warm_up_s=0.05,
    open_loop_s=0.3,
    overload_s=1.0,
    steady_s=0.5,
    n_connections=8,
    rates_rps=(100,),
    catalogue_sizes=(N_ITEMS,),
    largest_items=N_ITEMS,
    n_recall_histories=5,
    rerank_s=0.5,
    rerank_rounds=1,
    rerank_rps=60.0,
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    synthetic = TinyBundles(folder / "synthetic")
    rig = Rig(PLAN, folder, demo=synthetic.get(N_ITEMS), synthetic=synthetic)
    document: dict[str, Any] = {}
    names = [name for name in NAMES if name not in ("lengths", "batches")]  # as ks
    run_sections(choose_sections(PLAN, names), rig, document, lambda _: None)
    return document


def test_every_section_measures_the_real_service(document: dict[str, Any]) -> None:
    assert {name: s["state"] for name, s in document["sections"].items()} == dict.fromkeys(
        document["sections"], "done"
    )
    assert 0 < document["ratio"] < 1.5
    assert document["open_loop"]["100"]["p99_ms"] > 0
    assert set(document["ks"]) == {"10", "100"}
    assert 0.3 < document["knowledge_overhead"] < 3
    assert document["demo"]["recommend"]["rps"] > 0
    assert (document["demo"]["n_users"], document["demo"]["history_length"]) == (60, 50)
    memory = document["swap_memory"]
    assert memory["n_swaps"] == 6
    assert 1e7 < memory["rss_bytes"]["before"] <= memory["rss_bytes"]["max"] < 1e9
    assert document["sections"]["swap_memory"]["failed"] == 0
    assert document["echo_rps"] > document["recommend_rps"] * 0.5


def test_an_exact_service_has_full_recall_in_every_kind_of_request(
    document: dict[str, Any],
) -> None:
    found = document["catalogue"][str(N_ITEMS)]
    assert found["recall_at_10"] == 1.0
    assert found["filtered"]["recall_at_10"] == 1.0
    for kind in ("excluded", "excluded_random"):
        assert found[kind]["recall_at_10"] == 1.0
        assert found[kind]["n_excluded"] > K
        assert found[kind]["p50_ms"] > 0
    assert found["agrees_with_golden"]
    assert found["filtered"]["filter_leaves"] > K


def test_swaps_under_load_lose_no_request(document: dict[str, Any]) -> None:
    swap = document["swap"]
    assert swap["n_swaps"] == PLAN.n_swaps
    assert (swap["faults"], swap["failed"], swap["failed_activations"]) == ({}, 0, 0)
    # A busy machine may reject some, which tells nothing about swaps; fewer answers would.
    assert swap["during"]["requests"] > swap["rejected_during"]


def test_requests_above_the_capacity_are_rejected_properly(document: dict[str, Any]) -> None:
    overload = document["overload"]
    assert overload["failed"] == 0  # so each 429 had Retry-After
    assert overload["offered_rps"] > 2 * overload["capacity_rps"]
    assert overload["rejected"]["rps"] > 0
    assert overload["accepted"]["rps"] > 0


def test_metrics_of_two_workers_count_every_request(document: dict[str, Any]) -> None:
    for n in ("1", "2"):
        part = document["workers"][n]
        assert part["requests_in_metrics"] == part["requests_sent"] > 0


def test_answers_are_complete_and_truthful_whatever_the_reranker_does(
    document: dict[str, Any],
) -> None:
    cases = document["reranking"]["cases"]
    assert set(cases) == {"busy", "hung", "killed", "endpoint: late", "endpoint: garbage"}
    for name, case in cases.items():
        assert case["faults"] == {}, name
        assert sum(case["outcomes"].values()) > 0
        for part in ("head_auto", "head_never", "tail_auto", "tail_never"):
            assert case[part]["p99_ms"] > 0
    assert set(cases["busy"]["outcomes"]) & {"cached", "fresh", "pending"}
    assert set(cases["hung"]["outcomes"]) <= {"pending", "timed_out", "skipped"}
    assert cases["killed"]["killed"] > 0
    assert set(cases["endpoint: garbage"]["outcomes"]) <= {"pending", "timed_out", "skipped"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_is_reported(document: dict[str, Any]) -> None:
    workers, catalogue = document["workers"], document["catalogue"][str(N_ITEMS)]
    assert workers["2"]["processes"] > workers["1"]["processes"]
    assert workers["2"]["pss_bytes"] < workers["2"]["rss_bytes"]
    assert catalogue["rss_bytes"] > 20e6
    assert document["overload"]["rss"]["max_bytes"] >= document["overload"]["rss"]["start_bytes"]
