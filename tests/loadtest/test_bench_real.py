"""The benchmark's sections against the real service, very short, with tiny bundles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.bench.bundles import BundleFiles, MadeBundles
from loadtest.bench.plan import QUICK, K
from loadtest.bench.rig import Rig
from loadtest.bench.sections import NAMES, choose_sections, run_sections
from loadtest.errors import WorkloadError
from tests.made_bundle import make_bundle, make_catalogue

pytestmark = [pytest.mark.slow, pytest.mark.alone]

N_ITEMS = 300
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
)


class TinyBundles(MadeBundles):
    """Real bundles, made without torch."""

    def get(self, n_items: int, *, knowledge: bool = True, trained: bool = False) -> Path:
        folder = self.folder / f"tiny-{knowledge}-{trained}"
        if not folder.exists():
            catalogue = make_catalogue(n_items=min(n_items, N_ITEMS), n_users=60, history_length=50)
            make_bundle(folder, version=folder.name, catalogue=catalogue, with_encoder=knowledge)
        return folder


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    rig = Rig(PLAN, folder, made=TinyBundles(folder / "made"))
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
    assert (swap["failed"], swap["failed_activations"]) == (0, 0)
    assert swap["during"]["requests"] > 0


def test_more_than_the_capacity_is_refused_in_the_right_way(document: dict[str, Any]) -> None:
    overload = document["overload"]
    assert overload["failed"] == 0  # so each 429 said when to come back
    assert overload["offered_rps"] > 2 * overload["capacity_rps"]
    assert overload["refused"]["rps"] > 0
    assert overload["accepted"]["rps"] > 0


def test_metrics_of_two_workers_count_every_request(document: dict[str, Any]) -> None:
    for n in ("1", "2"):
        part = document["workers"][n]
        assert part["requests_in_metrics"] == part["requests_sent"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_is_told(document: dict[str, Any]) -> None:
    workers, catalogue = document["workers"], document["catalogue"][str(N_ITEMS)]
    assert workers["2"]["processes"] > workers["1"]["processes"]
    assert workers["2"]["pss_bytes"] < workers["2"]["rss_bytes"]
    assert catalogue["rss_bytes"] > 20e6
    assert document["overload"]["rss"]["max_bytes"] >= document["overload"]["rss"]["start_bytes"]


def test_a_made_bundle_is_made_once_and_anew_by_other_makers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("LICENSE",))
    made = MadeBundles(tmp_path / "made")
    folder = made.get(200, knowledge=False)
    files = BundleFiles(folder)
    assert len(files.item_ids) == len(files.table) - 1 == 200
    attribute, value, rows = files.find_filter(0.01)
    assert len(rows) == 2, (attribute, value)
    written_s = (folder / "manifest.json").stat().st_mtime_ns
    assert made.get(200, knowledge=False) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written_s
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("README.md",))
    monkeypatch.setattr("loadtest.bench.bundles.MAKER", "offline.no_such_maker")
    with pytest.raises(WorkloadError, match=r"can't be made: offline\.no_such_maker ended with"):
        made.get(200, knowledge=False)
    assert not folder.exists()  # what other makers made is of no use any more


def test_what_does_not_fit_on_the_machine_is_said(tmp_path: Path) -> None:
    assert MadeBundles(tmp_path).why_not(1_000) is None
    assert "10,000,000,000,000 items need 10000000.0 GB of disk" in (
        MadeBundles(tmp_path).why_not(10**13) or ""
    )


def serves(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_nothing_running(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    bundle = TinyBundles(tmp_path / "made").get(N_ITEMS)
    run = subprocess.Popen(
        [sys.executable, "-m", "loadtest.bench", "--only=comparison", f"--bundle={bundle}"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started: dict[int, psutil.Process] = {}
    deadline_s = time.monotonic() + 60
    while not any(map(serves, started.values())):
        assert time.monotonic() < deadline_s
        assert run.poll() is None
        started |= {p.pid: p for p in psutil.Process(run.pid).children(recursive=True)}
        time.sleep(0.05)
    run.send_signal(sent)
    _, said = run.communicate(timeout=60)
    assert run.returncode == code, said
    assert "Traceback" not in said
    assert len(started) >= 2  # the echo and the service
    assert psutil.wait_procs(list(started.values()), timeout=5)[1] == []
    assert list(tmp_path.glob("longtail-bench-*")) == []
