"""The benchmark's sections against the real service, but for those of `test_bench_real`.

What is asserted of them holds on a busy machine, too. Together they run all sections but two that
are as `ks`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from loadtest.bench.plan import K
from loadtest.bench.sections import NAMES
from loadtest.bench.swap_services import FORMS, Answers, Form
from tests.loadtest import test_bench_real
from tests.loadtest.real_sections import run_real
from tests.loadtest.tiny_bundles import N_ITEMS

pytestmark = pytest.mark.slow

SECTIONS = (
    *("comparison", "demo", "ks", "knowledge", "swap_memory", "shadow", "workers", "rules"),
    "exposures",
    *("swap_services", "footprint", "cluster", "reranking", "catalogue"),
)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_real(SECTIONS, tmp_path_factory.mktemp("bench"))


def test_no_section_is_forgotten() -> None:
    assert {*SECTIONS, *test_bench_real.SECTIONS} == {*NAMES} - {"lengths", "batches"}


def test_the_real_service_is_compared_with_the_echo(document: dict[str, Any]) -> None:
    assert 0 < document["ratio"] < 1.5
    assert document["open_loop"]["100"]["p99_ms"] > 0
    assert 0.3 < document["knowledge_overhead"] < 3
    assert document["demo"]["recommend"]["rps"] > 0
    assert (document["demo"]["n_users"], document["demo"]["history_length"]) == (60, 50)
    assert document["echo_rps"] > document["recommend_rps"] * 0.5


def test_a_shadow_changes_no_answer_and_is_measured(document: dict[str, Any]) -> None:
    shadow = document["shadow"]
    assert shadow["changed_answers"] == 0
    assert sum(shadow["outcomes"].values()) > 0
    assert shadow["outcomes"]["failed"] == 0
    assert shadow["shadowed"]["requests"] > 0
    assert shadow["p99_ratio"] > 0  # how much a busy machine makes of it is no matter of a test


def test_the_cost_of_exposures_is_told_for_each_number_of_connections(
    document: dict[str, Any],
) -> None:
    found = document["exposures"]
    assert list(found) == ["1", "8", "32"]
    for one in found.values():
        assert one["rounds"] == 2
        assert min(one["plain_cpu_us"], one["keeping_cpu_us"], one["cpu_ratio"]) > 0
    assert document["sections"]["exposures"]["failed"] == 0


def test_fifty_rules_are_in_force_and_measured(document: dict[str, Any]) -> None:
    rules = document["rules"]
    assert rules["n_rules"] == 50
    assert rules["p50_ratio"] > 0  # a busy machine may make anything of it
    assert rules["with"]["rps"] > 0
    assert document["sections"]["rules"]["failed"] == 0


def test_what_users_requests_and_events_take_of_the_store_is_measured(
    document: dict[str, Any],
) -> None:
    found = document["footprint"]
    assert document["sections"]["footprint"]["failed"] == 0
    # An item of a history takes six bytes or more, its user's key and record some dozens.
    assert found["user_bytes"] > 6 * found["history_length"]
    assert found["request_from_store_bytes"] > 6 * found["history_length"]
    assert found["request_to_store_bytes"] > 20
    assert found["n_events"] == 300
    assert 50 < found["event_bytes"] < 10_000
    assert min(found["event_store_cpu_us"], found["request_store_cpu_us"]) > 0


def test_a_cluster_is_compared_with_a_single_server(document: dict[str, Any]) -> None:
    found = document["cluster"]
    assert found["cpu_ratio"] > 0  # a busy machine may make anything of it
    assert min(found[name]["rps"] for name in ("single", "cluster")) > 0
    assert document["sections"]["cluster"]["failed"] == 0


def test_memory_after_swaps_is_measured(document: dict[str, Any]) -> None:
    assert set(document["ks"]) == {"10", "100"}
    memory = document["swap_memory"]
    assert memory["n_swaps"] == 6
    assert 1e7 < memory["rss_bytes"]["before"] <= memory["rss_bytes"]["max"] < 1e9
    assert document["sections"]["swap_memory"]["failed"] == 0


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_answers_in_swaps_are_each_of_one_version(document: dict[str, Any], form: Form) -> None:
    found = document["swap_services"][form.name]
    assert (found["failed"], found["failed_activations"]) == (0, 0)
    assert found["n_swaps"] == 6
    assert found["requests"] > 0
    assert found["rps"] == pytest.approx(found["capacity_rps"] / 2, abs=0.1)
    assert sys.platform != "linux" or found["busy"] > 0
    assert found["apart_ms"] >= 0  # how far apart is no matter of a busy machine


def test_an_answer_that_mixes_versions_is_a_fault() -> None:
    answers = Answers(expected={("u", "one"): ["a", "b"], ("u", "two"): ["b", "c"]})

    def fault(version: str, *items: str) -> str | None:
        answer = {
            "user_id": "u",
            "model_version": version,
            "items": [{"item_id": i} for i in items],
        }
        return answers.find_fault(200, b"", json.dumps(answer).encode())

    assert fault("one", "a", "b") is None
    assert fault("one", "b", "c") == "other items than those of one"
    assert fault("two", "b", "c") is None
    assert answers.find_fault(500, b"", b"{}") == "status 500"
    assert answers.find_fault(429, b"HTTP/1.1 429\r\nRetry-After: 1", b"{}") is None
    assert [version for _, version in answers.seen] == ["one", "one", "two"]


def test_workers_are_apart_while_the_old_version_still_answers() -> None:
    seen = [(1.0, "a"), (2.1, "b"), (2.2, "a"), (2.4, "a"), (2.5, "b"), (3.5, "a")]
    assert Answers(seen=seen).apart_s([2.0, 3.0], ["b", "a"]) == pytest.approx([0.3, 0.0])
    # The next activation begins at once, while an answer of the old version is under way.
    late = [(1.0, "a"), (4.0, "b"), (4.1, "a"), (4.3, "b"), (6.0, "a")]
    assert Answers(seen=late).apart_s([2.0, 4.2], ["b", "a"]) == pytest.approx([0.1, 0.0])


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
