"""Answers on disk, one JSON object a line: the cache of this machine and the bundled layer.

    {"key": "9f3c…", "knowledge": "This film appeals to …", "flaw": null, "attempts": 1,
     "made_on": "2026-11-21"}

`knowledge` is "" while `flaw` names the flaw of the latest attempt. Lines are only appended; of
several with one key the last counts. Only the model's own words are kept.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from model_store.errors import InputError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw
from offline.knowledge.prompt import PromptTemplate

BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class StoredAnswer:
    """The state of one item's answer after `attempts` tries; usable when `flaw` is None.

    `made_on` is the day of the latest attempt (UTC), None where it wasn't recorded.
    """

    key: str
    knowledge: str
    flaw: Flaw | None
    attempts: int
    made_on: date | None = None


def answer_key(config: KnowledgeConfig, template: PromptTemplate, item_text: str) -> str:
    """sha256 (hex) of all that shapes an answer: model, prompt, settings, the item's text."""
    identity = {
        "model": config.model,
        "prompt": asdict(template),
        "settings": config.shaping_settings(),
        "item": item_text,
    }
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def answer_line(answer: StoredAnswer) -> str:
    """The answer as its line in a file."""
    made_on = answer.made_on.isoformat() if answer.made_on else None
    return json.dumps(asdict(answer) | {"made_on": made_on}, ensure_ascii=False) + "\n"


def read_answers(path: Path) -> dict[str, StoredAnswer]:
    """All answers of a `.jsonl` or `.jsonl.gz` file by key; empty if there is no such file.

    An incomplete last line (of a run killed while writing) is ignored.
    """
    if not path.is_file():
        return {}
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise InputError(f"knowledge file {path} can't be read: {error}") from error
    answers = {}
    for line in content.split(b"\n"):
        if answer := _parse(line):
            answers[answer.key] = answer
    return answers


def read_bundled(folder: Path = BUNDLED) -> dict[str, StoredAnswer]:
    """The bundled answers of all files in `folder`."""
    answers: dict[str, StoredAnswer] = {}
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        answers.update(read_answers(path))
    return answers


class AnswerLog:
    """The cache file, open for appending; created if missing. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab", buffering=0)
        if _ends_torn(path):
            self._file.write(b"\n")

    def append(self, answers: Iterable[StoredAnswer]) -> None:
        """Write answers and return once they are on the disk."""
        # One write, so that a second run on the same file can't come between.
        self._file.write("".join(answer_line(answer) for answer in answers).encode())
        os.fsync(self._file.fileno())

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def _parse(line: bytes) -> StoredAnswer | None:
    try:
        row = json.loads(line)
        flaw = None if row["flaw"] is None else Flaw(row["flaw"])
        day = row.get("made_on")  # earlier releases wrote none
        made_on = None if day is None else date.fromisoformat(day)
        return StoredAnswer(row["key"], row["knowledge"], flaw, row["attempts"], made_on)
    except (ValueError, KeyError, TypeError):
        return None


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
