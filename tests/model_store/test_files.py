"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.files import (
    clear_removed,
    hash_file,
    probe_folder,
    remove_folder,
    replace_folder,
    write_atomically,
)


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of two files."""
    return _filled(tmp_path / "folder", "old")


def _filled(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(text)
    return folder


@contextmanager
def _killed() -> Iterator[None]:
    """Within, a removal is killed between the first file of a folder and the last."""

    def kill(path: Path, **_options: object) -> None:
        (path / "a").unlink()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("model_store.files.shutil.rmtree", kill)
        yield


def test_a_folder_is_whole_or_gone_when_its_removal_is_killed(folder: Path) -> None:
    other = _filled(folder.with_name(".other.gone"), "other")
    with _killed():
        remove_folder(folder)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 2  # what was left is there
    clear_removed(folder.parent)
    assert list(folder.parent.iterdir()) == [other]
    assert len(list(other.iterdir())) == 2


def test_a_folder_is_replaced_by_a_whole_one_when_that_is_killed(folder: Path) -> None:
    fresh = _filled(folder.with_name("fresh"), "new")
    with _killed():
        replace_folder(folder, fresh)
    assert [path.read_text() for path in sorted(folder.iterdir())] == ["new", "new"]
    replace_folder(folder, _filled(fresh, "newer"))
    assert [path.read_text() for path in sorted(folder.iterdir())] == ["newer", "newer"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_takes_a_place_that_is_free(folder: Path) -> None:
    place = folder.with_name("place")
    replace_folder(place, folder)
    assert list(folder.parent.iterdir()) == [place]


def test_removing_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="folder"):
        remove_folder(tmp_path / "folder")
