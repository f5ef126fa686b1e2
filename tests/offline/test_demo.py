"""`longtail demo` with a `longtail` that only waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

COMMAND = "from pathlib import Path; from offline.demo import demo; demo(Path('out'), {})"
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "longtail.py").write_text(WAITS)
    command = [sys.executable, "-c", COMMAND.format("port=1, reranker=False")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("admin token: ")
        building = psutil.Process(int(demo.stdout.readline()))
        demo.kill()
    building.wait(timeout=10)
