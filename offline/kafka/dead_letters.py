"""Messages that are no events, in a file: one JSON line for each."""

from __future__ import annotations

import base64
import json
import logging
import os
from pathlib import Path
from typing import Any

from model_store.errors import InputError

logger = logging.getLogger(__name__)


class DeadLetters:
    """A file that is made with the first message.

    Args:
        path: of the file; what it has stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.n = 0

    def add(self, record: Any, reason: str) -> None:
        """Keep a message on the disk.

        Args:
            record: aiokafka's, with values as bytes.
            reason: why it is none.

        Raises:
            InputError: the file can't be written.
        """
        line = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp,
            "reason": reason,
            "key": _text(record.key),
            "value": _text(record.value),
        }
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())  # its offset is committed next
        except OSError as error:
            raise InputError(f"--dead-letters {self._path}: {error.strerror}") from error
        self.n += 1
        place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
        logger.warning("%s: %s; kept in %s", place, reason, self._path)


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
