"""A stage's result: a folder with its files and a manifest that says what they were made from.

A stage runs in a partial folder beside its place and is moved there when it is whole. Its
fingerprint covers its name, its code, its configuration and the fingerprints of its inputs; a
folder with the same fingerprint is used again, one with another is made anew. A stage that was
killed finds what it had written in its partial folder, if nothing it depends on has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from model_store.errors import ConfigError, InputError
from model_store.files import hash_file, write_atomically

MANIFEST = "stage.json"
_PACKAGE = Path(__file__).parent
# Code, prompts, and the knowledge that comes along.
_DECIDING = {".py", ".txt", ".gz"}

Facts = Mapping[str, Any]
Produce = Callable[[Path], Facts]
"""Writes a stage's files into a folder and answers what is worth knowing about them."""


@dataclass(frozen=True)
class Stage:
    """What decides a stage's result.

    Attributes:
        name: of the stage and of its folder.
        sources: files and folders below `offline/` whose code makes the result.
        config: choices, as JSON values.
        inputs: fingerprints of what it reads, by name.
    """

    name: str
    sources: Sequence[str]
    config: Mapping[str, Any]
    inputs: Mapping[str, str]

    def fingerprint(self) -> str:
        """sha256 in hex over all of it."""
        document = {
            "name": self.name,
            "code": hash_sources(self.sources),
            "config": self.config,
            "inputs": dict(self.inputs),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished stage: its folder, fingerprint and the facts it stated."""

    folder: Path
    fingerprint: str
    facts: Facts

    def path(self, name: str) -> Path:
        """One of its files."""
        return self.folder / name


def is_current(stage: Stage, root: Path) -> bool:
    """Whether the artifact at `root/<name>` is what the stage would make."""
    known = _read(root / stage.name)
    return known is not None and known.fingerprint == stage.fingerprint()


def run_stage(
    stage: Stage, root: Path, produce: Produce, log: Callable[[str], None] = print
) -> Artifact:
    """The stage's artifact: the one at `root/<name>` if it is still true, else a new one."""
    place, fingerprint = root / stage.name, stage.fingerprint()
    known = _read(place)
    if known and known.fingerprint == fingerprint:
        log(f"{stage.name}: unchanged")
        return known
    partial = root / f".{stage.name}.partial"
    begun = partial / "begun"
    if not begun.is_file() or begun.read_text() != fingerprint:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_atomically(begun, fingerprint.encode())
    log(f"{stage.name}: running")
    started_s = time.perf_counter()
    facts = dict(produce(partial))
    facts["seconds"] = round(time.perf_counter() - started_s, 2)
    _seal(partial, fingerprint, facts)
    _move(partial, place)
    shown = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "seconds")
    log(f"{stage.name}: done in {facts['seconds']:.1f} s{': ' + shown if shown else ''}")
    return Artifact(place, fingerprint, facts)


def _seal(folder: Path, fingerprint: str, facts: Facts) -> None:
    (folder / "begun").unlink()
    document = {
        "fingerprint": fingerprint,
        "facts": facts,
        "files": {
            str(path.relative_to(folder)): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    write_atomically(folder / MANIFEST, json.dumps(document, indent=2).encode())


def _move(partial: Path, place: Path) -> None:
    stale = place.with_name(f".{place.name}.stale")
    shutil.rmtree(stale, ignore_errors=True)
    if place.exists():
        place.rename(stale)
    partial.rename(place)
    shutil.rmtree(stale, ignore_errors=True)


def _read(folder: Path) -> Artifact | None:
    """The artifact in a folder, None where there is none or a file is not what it was."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        whole = all(
            hash_file(folder / name) == sha256 for name, sha256 in document["files"].items()
        )
        return Artifact(folder, document["fingerprint"], document["facts"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def hash_sources(sources: Sequence[str]) -> str:
    """sha256 over the source files of some parts of `offline/`.

    Raises:
        FileNotFoundError: a part is named that isn't there.
    """
    digest = hashlib.sha256()
    for source in sorted(sources):
        path = _PACKAGE / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        if not path.exists():
            raise FileNotFoundError(f"{path}: a stage names this source, but it is not there")
        for file in files:
            if file.suffix in _DECIDING:
                digest.update(str(file.relative_to(_PACKAGE)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def fingerprint_of(*parts: object) -> str:
    """sha256 in hex over arrays and whatever else has a `repr`, in order."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def hash_inputs(paths: Sequence[Path]) -> str:
    """sha256 over the bytes of input files, or of all files directly in an input folder.

    Raises:
        InputError: a path isn't there.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(file.name.encode())
            digest.update(hash_file(file).encode())
    return digest.hexdigest()


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep two builds out of one folder.

    Raises:
        ConfigError: another build is at work in it, or it can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock: IO[bytes] = (root / ".lock").open("ab")
    except OSError as error:
        raise ConfigError(f"--out {str(root)!r}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--out {str(root)!r}: another build is at work there") from None
        yield
