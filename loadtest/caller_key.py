"""The key that requests carry where the service wants callers to have one.

It comes from the environment: a command line can be read by every user of the machine.
"""

from __future__ import annotations

import os

from loadtest.errors import LoadTestError

VARIABLE = "LONGTAIL_CALLER_KEY"


def caller_headers() -> dict[str, str]:
    """Headers with the key in LONGTAIL_CALLER_KEY; none where it is unset or blank.

    Raises:
        LoadTestError: it can't stand in a header; it is not shown.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise LoadTestError(f"{VARIABLE}: has characters other than printable ASCII")
    return {"Authorization": f"Bearer {key}"} if key else {}


def hint(status: int) -> str:
    """What to do about an answer of this status, at the end of an error's line."""
    if status != 401:
        return ""
    state = "is no key of this service" if caller_headers() else "is unset"
    return f"; {VARIABLE} {state} (`longtail tokens create --role call` makes one)"
