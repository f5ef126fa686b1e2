"""Every acknowledged event is archived once, whatever is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.event_log_kills import run
from tests.synthetic_bundle import make_bundle

pytestmark = pytest.mark.slow


def test_each_acknowledged_event_is_archived_once(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "made-1").folder
    result = run(bundle, tmp_path, n_events=2_000, pause_s=0.7, kills=4)
    assert len(result.acknowledged) > 500
    assert result.missing == set()
    assert result.repeated == set()
    assert set(result.kills) == {"archiver", "store", "worker"}
