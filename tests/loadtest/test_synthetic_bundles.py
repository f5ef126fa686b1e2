"""Synthetic bundles of the benchmark, created by the real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench.bundles import BundleFiles, SyntheticBundles
from loadtest.errors import WorkloadError

pytestmark = pytest.mark.slow


def test_a_synthetic_bundle_is_created_once_and_again_when_its_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("LICENSE",))
    synthetic = SyntheticBundles(tmp_path / "synthetic")
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
