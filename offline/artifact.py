"""A stage's result: a folder with its files and a manifest that names their origin."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from model_store.errors import ConfigError
from model_store.files import hash_file, make_folder, replace_folder, write_atomically

MANIFEST = "stage.json"
BEGUN = "begun"
"""In a partial folder: the fingerprint of the artifact that is being made there."""

Facts = Mapping[str, Any]
"""Facts worth showing about an artifact, as JSON values."""


@dataclass(frozen=True)
class Artifact:
    """A finished stage's folder; subclasses offer its content by name.

    Attributes:
        folder: its place.
        fingerprint: of all that decides its content.
        facts: stated by the stage.
    """

    folder: Path
    fingerprint: str
    facts: Facts

    @property
    def name(self) -> str:
        """The stage's."""
        return self.folder.name

    def path(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name

    def read_json(self, name: str) -> Any:
        """The content of one of its JSON files."""
        return json.loads(self.path(name).read_bytes())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The artifact in a folder, None where there is none or a file has changed."""
        try:
            document = json.loads((folder / MANIFEST).read_bytes())
            whole = all(
                hash_file(folder / name) == sha256 for name, sha256 in document["files"].items()
            )
            return cls(folder, document["fingerprint"], document["facts"]) if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def write_json(path: Path, value: object) -> None:
    """A JSON file of an artifact, whole or not at all."""
    write_atomically(path, json.dumps(value, ensure_ascii=False, indent=1).encode())


def begin(place: Path, fingerprint: str) -> Path:
    """The partial folder for an artifact at `place`, with the files of an earlier, killed run.

    Files that were begun for another fingerprint are removed.
    """
    partial = place.with_name(f".{place.name}.partial")
    begun = partial / BEGUN
    if not begun.is_file() or begun.read_text() != fingerprint:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_atomically(begun, fingerprint.encode())
    return partial


def finish(partial: Path, place: Path, facts: Facts) -> None:
    """Write a partial folder's manifest, and move the folder to its place."""
    fingerprint = (partial / BEGUN).read_text()
    (partial / BEGUN).unlink()
    document = {
        "fingerprint": fingerprint,
        "facts": facts,
        "files": {
            str(path.relative_to(partial)): hash_file(path)
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        },
    }
    write_atomically(partial / MANIFEST, json.dumps(document, indent=2).encode())
    replace_folder(place, partial)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep two commands out of one folder.

    Raises:
        ConfigError: another command is at work in it, or it can't be written.
    """
    try:
        make_folder(root)
        lock: IO[bytes] = (root / ".lock").open("ab")
    except OSError as error:
        raise ConfigError(f"--out {str(root)!r}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--out {str(root)!r}: another command is at work there") from None
        yield
