"""Headers that tell browsers what a page may do, and that answers to operators are not kept.

Answers to callers have none of them: they are JSON that no browser shows, and each header costs.
There is no CORS header anywhere, so that pages of other origins can't read an answer.
"""

from __future__ import annotations

import base64
import hashlib

Header = tuple[bytes, bytes]

_NO_SNIFFING: Header = (b"x-content-type-options", b"nosniff")
_BY_PREFIX: dict[str, tuple[Header, ...]] = {
    "/admin": (_NO_SNIFFING, (b"cache-control", b"no-store")),
    "/console": (_NO_SNIFFING,),
    "/docs": (_NO_SNIFFING,),
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def headers_for(path: str) -> tuple[Header, ...]:
    """Those of every answer under a path that browsers or operators ask for."""
    first, _, _ = path[1:].partition("/")
    return _BY_PREFIX.get(f"/{first}", ())


def page_headers(*inline_scripts: str, inline_styles: bool = False) -> dict[str, str]:
    """Those of a page of ours: it loads from this service only, and nobody frames it.

    Args:
        inline_scripts: the text of each script that stands in the page; no other one is run.
        inline_styles: whether styles stand in it, too; they run nothing.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in inline_scripts]
    hashes = [f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    policy = {**_POLICY, "script-src": _POLICY["script-src"] + "".join(hashes)}
    if inline_styles:
        policy["style-src"] += " 'unsafe-inline'"
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
    }
