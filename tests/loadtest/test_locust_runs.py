"""Whole runs of the locust files, as a person starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.children import Child
from loadtest.errors import TargetError
from loadtest.workload import Workload, gather_service_workload
from tests.loadtest.conftest import start_stand_in
from tests.loadtest.stand_in import KEY, KNOWN_USERS

pytestmark = pytest.mark.slow

WORKLOAD = Workload(
    "synthetic",
    tuple(KNOWN_USERS),
    tuple(f"i{number}" for number in range(100)),
    (("i1", "i2", "i3"), ("i4",), tuple(f"i{number}" for number in range(60))),
)


def spell_run(service: Child, folder: Path, *options: str) -> list[str]:
    WORKLOAD.save(folder / "workload.json")
    return [
        *(sys.executable, "-m", "loadtest.run", "--url", service.address.url),
        *("--workload-file", str(folder / "workload.json"), "--out", str(folder / "r.json")),
        *options,
    ]


def run(service: Child, folder: Path, *options: str) -> tuple[int, str, str, dict[str, Any]]:
    """Exit code, stdout, stderr and results of a run."""
    command = spell_run(service, folder, *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    results = folder / "r.json"
    return (
        done.returncode,
        done.stdout,
        done.stderr,
        json.loads(results.read_bytes()) if results.exists() else {},
    )


def test_a_key_of_the_environment_goes_along_and_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_stand_in("wants a key") as service:
        monkeypatch.delenv("LONGTAIL_CALLER_KEY", raising=False)
        with pytest.raises(TargetError, match=r"401.*LONGTAIL_CALLER_KEY is unset"):
            gather_service_workload(service.address)
        monkeypatch.setenv("LONGTAIL_CALLER_KEY", "lt_another")
        with pytest.raises(TargetError, match=r"401.*LONGTAIL_CALLER_KEY is no key") as caught:
            gather_service_workload(service.address)
        assert "lt_another" not in str(caught.value)
        monkeypatch.setenv("LONGTAIL_CALLER_KEY", f"{KEY}\n")
        command = [
            *(sys.executable, "-m", "loadtest.run", "--url", service.address.url),
            *("--workload=mixed", "--rate=20", "--duration=1", "--users=2"),
            *("--out", str(tmp_path / "r.json")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    written = [(tmp_path / f"r.{kind}").read_text() for kind in ("json", "html")]
    assert not [text for text in (done.stdout, done.stderr, *written) if "secret-of" in text]


@pytest.mark.alone
def test_a_stall_of_a_second_shows_in_all_requests_that_were_due_in_it(tmp_path: Path) -> None:
    """Two users at 100 rps: only two requests meet the stall, a hundred people wait for it."""
    with start_stand_in("stall") as service:
        code, _, errors, results = run(
            service,
            tmp_path,
            *("--rate=100", "--duration=3", "--users=2", "--arrivals=constant", "--max-p99-ms=500"),
        )
    figures = results["figures"]
    assert figures["requests"] == 300
    assert figures["latency_ms"]["p99"] > 900
    # The third of all requests that was due in that second waited from all of it to nothing of
    # it: the tenth that waited longest waited at least .7 s.
    assert figures["latency_ms"]["p90"] > 600
    # Counted from when they were really sent, nearly all of them were fast: the usual mistake.
    assert figures["service_ms"]["p90"] < 300
    assert figures["service_ms"]["max"] > 900
    assert code == 1
    assert "BROKEN: p99_ms" in errors
    assert results["broken_thresholds"][0].endswith("is above --max-p99-ms 500")


def test_wrong_answers_fail_the_run_and_are_counted_by_fault(tmp_path: Path) -> None:
    with start_stand_in("fail") as service:
        code, _, errors, results = run(
            service, tmp_path, "--workload=stateless", "--rate=60", "--duration=1", "--users=5"
        )
    figures = results["figures"]
    assert code == 1
    assert figures["failures"] == {
        "recommend session: status 503: not ready": figures["requests"] // 4
    }
    assert "are above --max-failures 0" in errors
    # Parts missing from degraded answers are counted by name.
    assert figures["degraded"] == {"features": figures["requests"] - figures["failed"]}


def test_an_event_that_is_acknowledged_and_forgotten_fails_the_run(tmp_path: Path) -> None:
    with start_stand_in("forget") as service:
        code, _, _, results = run(
            service, tmp_path, "--workload=mixed", "--rate=60", "--duration=1", "--users=5"
        )
    assert code == 1
    assert list(results["figures"]["failures"]) == [
        "recommend visitor: an item came back though its event was acknowledged"
    ]


def test_a_service_that_dies_leaves_failures_and_an_end(tmp_path: Path) -> None:
    with start_stand_in() as service:
        command = spell_run(service, tmp_path, "--rate=50", "--duration=2", "--users=5")
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        for line in child.stderr:  # until the first line of progress
            if " of 2 s" in line:
                break
    errors = child.communicate(timeout=120)[1]
    assert child.returncode == 1
    failures = json.loads((tmp_path / "r.json").read_bytes())["figures"]["failures"]
    assert any("no answer" in fault for fault in failures), errors


def test_ctrl_c_ends_a_run_early_with_the_results_so_far(stand_in: Child, tmp_path: Path) -> None:
    command = spell_run(stand_in, tmp_path, "--rate=50", "--duration=60", "--users=5")
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stderr is not None
    for line in child.stderr:
        if " of 60 s" in line:
            break
    begun_s = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)
    child.communicate(timeout=120)
    assert time.monotonic() - begun_s < 10
    figures = json.loads((tmp_path / "r.json").read_bytes())["figures"]
    # Requests that were not due yet don't count against the service.
    assert 0 < figures["requests"] < 1_000
    assert figures["failed"] <= 5


def test_another_machine_gets_no_load_without_its_owners_consent(
    stand_in: Child, tmp_path: Path
) -> None:
    command = spell_run(stand_in, tmp_path)
    command[command.index("--url") + 1] = "http://192.0.2.1:8000"
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "loadtest: 192.0.2.1 is not this machine: add --i-own-this-host if you may load it"
    )


def test_locust_itself_rejects_another_machine_too(tmp_path: Path) -> None:
    WORKLOAD.save(tmp_path / "workload.json")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtest/stored_users.py", "--headless"),
            *("--host", "http://192.0.2.1:8000"),
            *("--workload-file", str(tmp_path / "workload.json")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "loadtest: 192.0.2.1 is not this machine" in done.stderr
