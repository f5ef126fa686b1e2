"""The benchmark's sections that measure time, against the real service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loadtest.real_sections import PLAN, run_real

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SECTIONS = ("comparison", "demo", "knowledge", "overload", "swap")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_real(SECTIONS, tmp_path_factory.mktemp("bench"))


def test_the_real_service_is_compared_with_the_echo(document: dict[str, Any]) -> None:
    assert 0 < document["ratio"] < 1.5
    assert document["open_loop"]["100"]["p99_ms"] > 0
    assert 0.3 < document["knowledge_overhead"] < 3
    assert document["demo"]["recommend"]["rps"] > 0
    assert (document["demo"]["n_users"], document["demo"]["history_length"]) == (60, 50)
    assert document["echo_rps"] > document["recommend_rps"] * 0.5


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
    assert overload["rss"]["max_bytes"] >= overload["rss"]["start_bytes"]
