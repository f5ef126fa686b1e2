"""What waits in the log of exposures."""

from __future__ import annotations

from typing import Any

import redis

from model_store.exposure_log import Exposure, decode_exposures, exposure_keys


def logged(client: redis.Redis) -> list[Exposure]:
    """All answers, those of a stream in order."""
    entries: Any = [entry for key in exposure_keys() for entry in client.xrange(key) or ()]
    return [shown for _, fields in entries for shown in decode_exposures(fields)]
