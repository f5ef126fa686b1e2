"""`longtail demo` with a `longtail` that only waits."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from model_store.errors import ConfigError
from offline.demo import demo
from tests.free_ports import free_port

COMMAND = "from pathlib import Path; from offline.demo import demo; demo(Path('out'), {})"
COMMAND_ENDS = COMMAND.replace(" demo(", " sys.exit(demo(") + ")"
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def free_flags() -> str:
    return f"port={free_port()}, reranker=False"


def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "longtail.py").write_text(WAITS)
    command = [sys.executable, "-c", COMMAND.format(free_flags())]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("admin token: ")
        building = psutil.Process(int(demo.stdout.readline()))
        demo.kill()
    building.wait(timeout=60)


def test_a_demo_that_is_ended_while_it_builds_serves_nothing(tmp_path: Path) -> None:
    (tmp_path / "longtail.py").write_text(WAITS)
    command = [sys.executable, "-c", f"import sys; {COMMAND_ENDS.format(free_flags())}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        assert int(demo.stdout.readline()) > 0
        demo.terminate()
        assert demo.stdout.read() == ""
        assert demo.wait(timeout=60) == 128 + signal.SIGTERM


def test_an_occupied_port_costs_no_build(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            demo(tmp_path / "out", port=port, reranker=False)
    assert f"can't listen on 127.0.0.1:{port}: Address already in use" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
