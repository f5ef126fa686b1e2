"""Libraries that would report about their use are kept from it, in every package that loads one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOADERS = (
    "app.model.inference",
    "offline.recommender.exported",
    pytest.param("offline.encoding.onnx_export", marks=pytest.mark.slow),
)


def environment_in(folder: Path) -> dict[str, str]:
    """Every place where a library may leave something is in this folder."""
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
    kept = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k}
    return {**kept, **{name: str(folder / name) for name in names}, "PYTHONDONTWRITEBYTECODE": "1"}


def load(module: str, folder: Path, *wrapper: str) -> subprocess.CompletedProcess[str]:
    for name in ("HOME", "TMPDIR"):
        (folder / name).mkdir()
    # A library's own threads have begun their work by the end of the pause.
    code = f"import {module}, time; time.sleep(0.2)"
    return subprocess.run(
        [*wrapper, sys.executable, "-c", code],
        env=environment_in(folder),
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("module", LOADERS)
def test_importing_leaves_no_file_and_no_warning(module: str, tmp_path: Path) -> None:
    done = load(module, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert done.stderr == ""


def test_no_device_id_is_asked_for_where_none_can_be_kept(tmp_path: Path) -> None:
    # A file in place of the cache folder: nobody, not even root, can make one there.
    (tmp_path / "XDG_CACHE_HOME").touch()
    assert load(LOADERS[0], tmp_path).stderr == ""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_name_is_looked_up(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    load(LOADERS[0], tmp_path, "strace", "-f", "-e", "trace=connect,sendto", "-o", str(trace))
    assert "AF_INET" not in trace.read_text()
    assert "exited with 0" in trace.read_text()
