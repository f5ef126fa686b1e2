"""torch's ONNX exporter without its notes on libraries nobody needs and on its own deprecations."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

LOGGER = "torch.onnx"


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Within, the exporter neither logs, warns nor prints; errors still come as exceptions."""
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
