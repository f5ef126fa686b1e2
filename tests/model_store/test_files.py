"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.files import hash_file, probe_folder, write_atomically


def test_writers_with_one_process_id_do_not_meet(tmp_path: Path) -> None:
    """As two containers on one folder, whose processes may all have the id 1."""
    path = tmp_path / "active.json"

    def write(number: int) -> None:
        write_atomically(path, bytes([number]) * 50_000)
        probe_folder(tmp_path, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(100)))
    content = path.read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n_bytes", [0, 1, 9, 10, 11, 20, 95])
def test_a_file_is_hashed_whole_whatever_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int
) -> None:
    monkeypatch.setattr("model_store.files._HASHED_BYTES", 10)
    monkeypatch.setattr("model_store.files._PARTS_AT_ONCE", 2)
    content, pauses = bytes(range(n_bytes)), []
    (tmp_path / "file").write_bytes(content)
    found = hash_file(tmp_path / "file", lambda: pauses.append(1))
    assert found == hashlib.sha256(content).hexdigest()
    assert len(pauses) == -(-n_bytes // 10) // 2
