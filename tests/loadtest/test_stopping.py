"""A benchmark that is stopped, by a person or by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.loadtest.tiny_bundles import N_ITEMS, TinyBundles

pytestmark = pytest.mark.slow


def serves(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_nothing_running(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    bundle = TinyBundles(tmp_path / "synthetic").get(N_ITEMS)
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
    assert psutil.wait_procs(list(started.values()), timeout=60)[1] == []
    assert list(tmp_path.glob("longtail-bench-*")) == []
