"""The benchmark's sections whose load leaves no room for other tests, against the real service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loadtest.real_sections import PLAN, run_real

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SECTIONS = ("overload", "swap")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_real(SECTIONS, tmp_path_factory.mktemp("bench"))


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
