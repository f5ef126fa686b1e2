"""Bundles that a benchmark has made for it, by the real maker."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench.bundles import BundleFiles, MadeBundles
from loadtest.errors import WorkloadError

pytestmark = pytest.mark.slow


def test_a_made_bundle_is_made_once_and_anew_by_other_makers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("LICENSE",))
    made = MadeBundles(tmp_path / "made")
    folder = made.get(200, knowledge=False)
    files = BundleFiles(folder)
    assert len(files.item_ids) == len(files.table) - 1 == 200
    attribute, value, rows = files.find_filter(0.01)
    assert len(rows) == 2, (attribute, value)
    written_s = (folder / "manifest.json").stat().st_mtime_ns
    assert made.get(200, knowledge=False) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written_s
    monkeypatch.setattr("loadtest.bench.bundles.MAKERS", ("README.md",))
    monkeypatch.setattr("loadtest.bench.bundles.MAKER", "offline.no_such_maker")
    with pytest.raises(WorkloadError, match=r"can't be made: offline\.no_such_maker ended with"):
        made.get(200, knowledge=False)
    assert not folder.exists()  # what other makers made is of no use any more


def test_what_does_not_fit_on_the_machine_is_said(tmp_path: Path) -> None:
    assert MadeBundles(tmp_path).why_not(1_000) is None
    assert "10,000,000,000,000 items need 10000000.0 GB of disk" in (
        MadeBundles(tmp_path).why_not(10**13) or ""
    )
