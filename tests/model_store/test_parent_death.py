"""A child whose parent was killed before it asked to be told of that ends, too."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize(
    ("parent", "status"), [("os.getppid()", 0), ("os.getpid()", -signal.SIGTERM), ("None", 0)]
)
def test_a_parent_that_has_ended_already_is_noticed(parent: str, status: int) -> None:
    code = f"import os; from model_store.parent_death import die_with_parent as d; d({parent})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == status
