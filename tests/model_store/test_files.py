"""Files that are either whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_store.files import probe_folder, write_atomically


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
