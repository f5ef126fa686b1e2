"""In a process of its own: the exporter logs some things once."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, torch
from offline.quiet_exporter import quiet_exporter
class Twice(torch.nn.Module):
    def forward(self, numbers):
        return numbers * 2
def export():
    torch.onnx.export(Twice(), (torch.ones(2),), dynamo=True, verbose=False)
with quiet_exporter():
    export()
print("loud from here", file=sys.stderr, flush=True)
export()
"""


@pytest.mark.slow
def test_the_exporter_is_quiet_within_and_not_without() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    quiet, _, loud = done.stderr.partition("loud from here")
    assert quiet == ""
    assert loud.strip() != ""
