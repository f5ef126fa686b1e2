"""What each column of the input files was taken for, for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from model_store.errors import InputError
from model_store.files import write_atomically

ColumnKind = Literal["id", "time", "number", "boolean", "list", "text"]

NOT_READ = "not read"


@dataclass(frozen=True)
class ColumnReading:
    """One column and how it was read.

    Attributes:
        file: name of the file.
        column: name of the column in the file.
        meaning: "user_id", "item_id", "timestamp", "rating", "attribute 'price'", or "not read".
        kind: of its values; None for a column that isn't read.
        detail: how they were read, one short phrase such as "YYYY-MM-DD HH:MM:SS, UTC".
    """

    file: str
    column: str
    meaning: str
    kind: ColumnKind | None
    detail: str

    def __str__(self) -> str:
        kind = f", {self.kind}" if self.kind else ""
        return f"{self.file}: {self.column!r}: {self.meaning}{kind} ({self.detail})"


def attribute_meaning(name: str) -> str:
    """The `meaning` of a column that becomes an attribute."""
    return f"attribute {name!r}"


def save_readings(readings: Sequence[ColumnReading], path: Path) -> None:
    """Write as a JSON list."""
    rows = [asdict(reading) for reading in readings]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def load_readings(path: Path) -> tuple[ColumnReading, ...]:
    """Read what `save_readings` wrote.

    Raises:
        InputError: the file can't be read or doesn't hold readings.
    """
    try:
        readings = tuple(ColumnReading(**row) for row in json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable readings of columns ({error})") from error
    for reading in readings:
        if reading.kind not in (None, *get_args(ColumnKind)):
            raise InputError(f"{path}: {reading.column!r} is of unknown kind {reading.kind!r}")
    return readings
