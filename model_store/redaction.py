"""URLs as they may be shown: without user, password and options, any of which may be a secret."""

from __future__ import annotations

import re

# What a URL without a secret looks like; anything else may hold one.
_PLAIN = re.compile(
    r"([a-z+]+://(\[[0-9a-fA-F:.]+\]|[\w.-]*)(:\d+)?|[\w.-]+:\d+)(/[\w./%~-]*)?",
)
_USER_IN_TEXT = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]*@")


def redacted(url: str) -> str:
    """What may be shown of a text that is, or should have been, a URL."""
    if _PLAIN.fullmatch(url):
        return url
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]{1,20}", scheme):
        return "***"
    # The host stands behind the last @; an option may be a password.
    place = rest.rpartition("@")[2].partition("?")[0].partition("#")[0] if "@" in rest else ""
    return f"{scheme}://***{'@' + place if place else ''}"


def redact_urls(message: str) -> str:
    """A library's message without the users and passwords of the URLs in it."""
    return _USER_IN_TEXT.sub(r"\1***@", message)
