"""Workers as their supervisor sees them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from app import supervisor
from app.supervisor import Worker
from model_store.embedded import EmbeddedStore
from tests.app.conftest import settings_for
from tests.app.deployment.test_lifecycle import wait_for

# What reading a large catalogue was seen to hold the interpreter for, and several times that.
LONG_LOAD_S = 30


def test_a_worker_that_hangs_is_killed_and_named(
    store: EmbeddedStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert supervisor.HANG_S >= LONG_LOAD_S
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(settings_for(store.url, folder), listener)
        process = psutil.Process(worker.process.pid)

        def lives() -> bool:
            worker.look()
            return worker.process.is_alive()

        try:
            wait_for(lambda: lives() and worker.is_ready)
            assert caplog.messages == []
            monkeypatch.setattr(supervisor, "HANG_S", 0.5)
            os.kill(process.pid, signal.SIGSTOP)
            wait_for(lambda: not lives(), 5)
        finally:
            worker.process.kill()
            worker.process.join()
    assert [m for m in caplog.messages if f"worker {process.pid} sent no heartbeat" in m]
