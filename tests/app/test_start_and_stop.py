"""How `longtail serve` starts and ends: loading, signals, folders it can and cannot write."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from tests.app.conftest import wait_for
from tests.app.running import SLOW_LONGTAIL, Running, serving, started

pytestmark = pytest.mark.slow


def live_and_ready(running: Running) -> tuple[int, int, str]:
    """Status of /health/live and /health/ready, and what the latter says."""
    status, document = running.ask("GET", "/health/ready")
    return running.ask("GET", "/health/live")[0], status, document.get("detail", "")


@pytest.mark.alone
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_live_while_a_model_loads_and_ends_at_once(
    synthetic_bundle: Bundle, tmp_path: Path, workers: str
) -> None:
    with started(
        *(tmp_path, synthetic_bundle.folder, "--workers", workers),
        script=SLOW_LONGTAIL,
        SLOW_LOAD_S="600",
    ) as running:
        wait_for(running.answers)
        assert live_and_ready(running)[:2] == (200, 503)
        wait_for(lambda: live_and_ready(running) == (200, 503, "version made-1 is being loaded"))
        status, document = running.ask("POST", "/recommend", {"user_id": "u1"})
        assert (status, document["detail"]) == (503, "version made-1 is being loaded")
        begun = time.monotonic()
        assert running.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 5
        assert "Traceback" not in running.log


def test_it_is_ready_once_the_worker_that_listens_from_the_start_can_answer(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    with started(
        *(tmp_path, synthetic_bundle.folder, "--workers", "2"),
        script=SLOW_LONGTAIL,
        SLOW_PROCESS="SpawnProcess-1",
        SLOW_LOAD_S="2",
    ) as running:
        wait_for(lambda: running.answers() and live_and_ready(running)[1] == 200)
        asked = [running.ask("POST", "/recommend", {"user_id": "u1"})[0] for _ in range(20)]
    assert asked == [200] * 20


def test_requests_under_way_are_answered_or_told_when_it_ends(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    is_asked = tmp_path / "is asked"
    with serving(
        *(tmp_path, synthetic_bundle.folder),
        script=SLOW_LONGTAIL,
        SLOW_BATCH_S="30",
        SLOW_BATCH_BEGUN=str(is_asked),
        LONGTAIL_SHUTDOWN_TIMEOUT_MS="500",
        LONGTAIL_RERANK="off",
    ) as running:
        assert running.rerankers() == []
        batch = {"requests": [{"history": ["i1"]}] * 200}
        answers: list[tuple[int, Any]] = []
        asking = threading.Thread(
            target=lambda: answers.append(running.ask("POST", "/recommend/batch", batch))
        )
        asking.start()
        wait_for(is_asked.exists)
        begun = time.monotonic()
        assert running.end(signal.SIGTERM) == 0
        asking.join()
        assert time.monotonic() - begun < 8
        [(status, document)] = answers
        assert (status, document["detail"]) == (503, "the service is ending")
        assert "Traceback" not in running.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_kill_leaves_nothing(synthetic_bundle: Bundle, tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, synthetic_bundle.folder, "--workers", workers) as running:
        [reranker] = running.rerankers()
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        assert not reranker.is_running()


def test_a_bundle_that_cannot_be_published_ends_the_service(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    for workers in ("1", "2"):
        with started(tmp_path, tmp_path / "nowhere", "--workers", workers) as running:
            assert running.process.wait(60) == 1
            lines = running.log.splitlines()
            assert [line for line in lines if "nowhere" in line] == lines[-1:]
            assert lines[-1].startswith("longtail serve: ")


def test_a_folder_that_cannot_be_written_is_named_at_once(
    synthetic_bundle: Bundle, store: EmbeddedStore, tmp_path: Path
) -> None:
    # A file in its place: nobody, not even root, can write to that folder.
    (tmp_path / "file").touch()
    with started(
        *(tmp_path, synthetic_bundle.folder),
        LONGTAIL_STORE_DIR=str(tmp_path / "file" / "store"),
        LONGTAIL_REDIS_URL=store.url,
    ) as failing:
        assert failing.process.wait(60) == 1
        [line] = failing.log.splitlines()
        assert line.startswith(f"longtail serve: LONGTAIL_STORE_DIR='{tmp_path}/file/store': ")


# As in a container with an arbitrary user id: no temporary folder, no entry in /etc/passwd.
BARE_MACHINE = """
import pwd, tempfile
def find_nothing(*_): raise FileNotFoundError("no usable temporary directory")
def find_nobody(*_): raise KeyError("uid not found")
tempfile._get_default_tempdir = find_nothing
pwd.getpwuid = find_nobody
"""


def test_it_needs_no_folders_but_those_it_was_given(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BARE_MACHINE)
    variables = {"HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONPATH": str(site)}
    with serving(
        *(tmp_path, synthetic_bundle.folder, "--workers", "2"),
        **variables,
        PYTHONDONTWRITEBYTECODE="1",
        XDG_CACHE_HOME="/nowhere",
    ) as running:
        assert running.ask("POST", "/recommend", {"user_id": "u1"})[0] == 200
        assert running.ask("POST", "/events", {"user_id": "u1", "item_id": "i1"})[0] == 200
    assert "Traceback" not in running.log
    assert " WARNING " not in running.log
