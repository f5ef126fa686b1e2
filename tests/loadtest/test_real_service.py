"""The load test against the real service: its store, its model (a tiny one), its HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.bench.plan import HISTORY_LENGTH
from loadtest.bench.rig import check_answers
from loadtest.children import Child
from loadtest.workload import find_users_by_length, gather_service_workload
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load")
    catalogue = make_catalogue(n_items=300, n_users=20, history_length=HISTORY_LENGTH)
    make_bundle(folder / "synthetic-1", catalogue=catalogue, version="synthetic-1")
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Child]:
    command = [sys.executable, "-m", "longtail", "serve", "--port", "{port}", "--bundle"]
    environment = {
        "LONGTAIL_STORE_DIR": str(folder / "store"),
        "LONGTAIL_BUNDLES_DIR": str(folder / "bundles"),
        "LONGTAIL_REDIS_URL": "",
        # Other work on the machine must not look like a store that is away.
        "LONGTAIL_STORE_TIMEOUT_MS": "2000",
    }
    with Child(
        "service", [*command, str(folder / "synthetic-1")], environment=environment
    ) as child:
        yield child


@pytest.mark.alone
def test_a_mixed_run_passes_and_documents_itself(service: Child, folder: Path) -> None:
    """Without a workload file: users and sessions come from the served version's bundle."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtest.run", "--url", service.address.url),
            *("--workload=mixed", "--rate=100", "--duration=2", "--users=10"),
            *("--arrivals=constant", "--max-p99-ms=2000", "--min-rps=80"),
            *("--out", str(folder / "r.json")),
        ],
        env={**os.environ, "LONGTAIL_BUNDLES_DIR": str(folder / "bundles")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "r.json").read_bytes())
    figures = results["figures"]
    assert figures["due"] == figures["requests"] == 200
    assert figures["failed"] == 0
    assert figures["degraded"] == {}
    assert set(figures["by_request"]) >= {"recommend visitor", "event"}
    assert set(figures["served_by"]) == {"model", "popular"}
    assert set(figures["model_versions"]) == {"synthetic-1"}
    assert results["workload_source"] == "bundle synthetic-1"
    assert results["bundle_version"] == "synthetic-1"
    assert results["execution_provider"]
    assert results["hardware"]["cores"] >= 1
    assert results["hardware"]["memory_bytes"] > 0
    assert "loadtest.run" in results["command"]
    assert results["duration_s"] == 2
    assert results["date"]
    assert "commit" in results
    assert results["broken_thresholds"] == []
    assert "p99.9" in done.stdout
    assert "1 s of 2 s" in done.stderr
    assert (folder / "r.html").stat().st_size > 10_000


def test_a_workload_can_be_gathered_from_the_service_itself(service: Child) -> None:
    workload = gather_service_workload(service.address, ["u1", "stranger"], n_histories=20)
    assert workload.user_ids == ("u1",)
    assert len(workload.item_ids) >= 100
    assert len(workload.histories) == 20
    assert workload.source == "service, version synthetic-1"


def test_the_benchmarks_users_are_answered_by_the_model(service: Child, folder: Path) -> None:
    user_ids, lengths = find_users_by_length(folder / "synthetic-1", HISTORY_LENGTH, 20)
    assert set(lengths) == {HISTORY_LENGTH}
    check_answers(service.address, [{"user_id": user_id, "k": 10} for user_id in user_ids])
