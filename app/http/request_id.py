"""Request ids, for answers and the log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import count

REQUEST_ID = "longtail.request_id"
"""Where a request's scope holds its id."""
_USABLE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Gives each request an id, unique unless callers choose theirs."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    def choose(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The id that the caller sent, if it is valid; else a new one.

        Args:
            headers: the request's, names in lower case.
        """
        for name, value in headers:
            if name == b"x-request-id" and _USABLE.fullmatch(value):
                return value.decode("ascii")
        return f"{self._prefix}-{next(self._numbers):x}"
