"""A build that divides its work among processes leaves what one process leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import Workshop

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_the_vectors_of_texts_are_equal_to_the_bit(
    engine: str,
    built: Path,
    workshop: Workshop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All else of the build is there, so that its texts alone are encoded again."""
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
    again = shutil.copytree(built, workshop.root / engine)
    shutil.rmtree(again / "encoding")
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path))  # which has no vectors
    assert workshop.build(engine, "--engine", engine, "--processes", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(": running")] == ["encoding: running"]
    vectors = [
        np.load(place / "encoding" / "knowledge_vectors.npy", allow_pickle=False)
        for place in (built, again)
    ]
    np.testing.assert_array_equal(*vectors)
    assert not (again / "encoding" / "parts").exists()
