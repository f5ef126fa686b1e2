"""Logging: plain lines on stderr; requests are counted, not logged."""

from __future__ import annotations

import logging


def configure_logging(level: str) -> None:
    """Log from the set level upwards; uvicorn's own messages only when debugging."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger().setLevel(level.upper())
    if level != "debug":
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
