"""Bodies of requests, as they are or compressed, within the limit on their size."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from app.http.problems import Problem
from app.http.requests import MAX_BODY_BYTES

# The window sizes by which zlib reads gzip and zlib streams ("deflate" in HTTP).
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# A body grows at most a thousandfold when decompressed, so this one is decoded in a millisecond.
MAX_DECODED_ON_LOOP = 1024


async def read_body(request: Request) -> bytes:
    """The request's body, decoded.

    Raises:
        Problem: 413, it is too long; 415, its encoding is unknown; 422, it is not of
            the encoding that its header names.
    """
    body = await _read_raw(request)
    encoding = "identity"
    for name, value in request.scope["headers"]:
        if name == b"content-encoding":
            encoding = value.decode("latin-1").strip().lower()
    if encoding in {"identity", ""}:
        return body
    if encoding not in _ENCODINGS:
        raise Problem(
            415,
            f"content-encoding {encoding[:200]!r} is not one of gzip, deflate, identity",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    if len(body) <= MAX_DECODED_ON_LOOP:
        return decode(body, encoding)
    return await asyncio.to_thread(decode, body, encoding)


def decode(body: bytes, encoding: str) -> bytes:
    """A compressed body in its original form.

    Raises:
        Problem: 413, it is too long; 422, it is no stream of that encoding.
    """
    stream = zlib.decompressobj(_ENCODINGS[encoding])
    try:
        decoded = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Problem(422, f"the body is no {encoding} stream: {error}") from None
    if len(decoded) > MAX_BODY_BYTES:
        raise too_long()
    if not stream.eof or stream.unused_data:
        raise Problem(422, f"the body is not one whole {encoding} stream")
    return decoded


def too_long() -> Problem:
    """413: a body that is too long."""
    return Problem(413, f"the body is longer than {MAX_BODY_BYTES} bytes")


async def _read_raw(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            problem = too_long()
            problem.headers["Connection"] = "close"
            raise problem
        if not message.get("more_body", False):
            return chunk if not chunks else b"".join((*chunks, chunk))
        chunks.append(chunk)
