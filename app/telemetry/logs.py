"""Logging: lines on stderr, as text or as JSON; requests are counted, and only failures logged."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
REQUEST_ID = "request_id"
"""Attribute of a record about one request."""


def configure_logging(level: str, form: LogFormat = "text") -> None:
    """Log from the set level upwards; uvicorn's own messages only when debugging."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger().setLevel(level.upper())
    if level != "debug":
        logging.getLogger("uvicorn").setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """A line for people; a stack trace follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, with the request's id where it is about one."""
        line = super().formatMessage(record)
        request_id = getattr(record, REQUEST_ID, None)
        return line if request_id is None else f"{line} (request {request_id})"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, process, message.

    `request_id` is there where the line is about a request, `exception` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, UTC)
        document: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        request_id = getattr(record, REQUEST_ID, None)
        if request_id is not None:
            document[REQUEST_ID] = request_id
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)
