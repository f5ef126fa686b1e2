"""Synthetic bundles of the benchmark, created by the real command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from loadtest.bench.bundles import BundleFiles, SyntheticBundles
from loadtest.errors import WorkloadError
from offline.synthetic.__main__ import main

pytestmark = pytest.mark.slow


def run_here(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has loaded torch; a process of its own takes seconds."""
    assert command[:3] == [sys.executable, "-m", "offline.synthetic"]
    return subprocess.CompletedProcess(command, main(command[3:]))


def test_a_synthetic_bundle_is_created_once_and_again_when_its_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("LICENSE",))
    synthetic = SyntheticBundles(tmp_path / "synthetic")
    with monkeypatch.context() as patch:
        patch.setattr("loadtest.bench.bundles.subprocess", SimpleNamespace(run=run_here))
        folder = synthetic.get(200, knowledge=False)
    files = BundleFiles(folder)
    assert len(files.item_ids) == len(files.table) - 1 == 200
    attribute, value, rows = files.find_filter(0.01)
    assert len(rows) == 2, (attribute, value)
    written_s = (folder / "manifest.json").stat().st_mtime_ns
    assert synthetic.get(200, knowledge=False) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written_s
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("README.md",))
    monkeypatch.setattr("loadtest.bench.bundles.MAKER", "offline.no_such_maker")
    with pytest.raises(WorkloadError, match=r"can't be created: offline\.no_such_maker ended with"):
        synthetic.get(200, knowledge=False)
    assert not folder.exists()  # bundles of older code are removed


def test_a_size_that_does_not_fit_on_the_machine_is_reported(tmp_path: Path) -> None:
    assert SyntheticBundles(tmp_path).why_not(1_000) is None
    assert "10,000,000,000,000 items need 10000000.0 GB of disk" in (
        SyntheticBundles(tmp_path).why_not(10**13) or ""
    )
