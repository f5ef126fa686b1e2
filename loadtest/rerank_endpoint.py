"""A `/v1/rerank` endpoint that behaves well or badly, for a benchmark of its callers.

Run as `python -m loadtest.rerank_endpoint --port PORT --behaviour NAME`; a child of the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import zlib
from collections.abc import Sequence
from itertools import count
from typing import Any

PROMPT_S = 0.004
SLOW_S = 2.0
# Around the usual deadlines, so that requests wait, and some of them in vain.
LATE_S = (0.005, 0.06)
BEHAVIOURS = ("good", "late", "slow", "hangs", "resets", "garbage")
_GARBAGE = (
    (200, b"<html>Bad gateway</html>"),
    (500, b'{"error": "out of memory"}'),
    (200, b'{"results": [{"index": 0, "relevance_score": 0.5}]}'),
    (200, b'{"results": [{"index": 0, "relevance_score": NaN}]}'),
    (200, b'{"results": null}'),
    (200, b"[" * 100_000),
    (302, b""),
)


def relevance(document: str) -> float:
    """An arbitrary score, always the same for a document."""
    return zlib.crc32(document.encode()) / 2**32


async def serve(port: int, behaviour: str) -> None:
    """Answer until killed."""
    numbers, rng = count(), random.Random(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                documents = (await _read(reader))["documents"]
                await _reply(writer, behaviour, documents, next(numbers), rng)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller has gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    await server.serve_forever()


async def _read(reader: asyncio.StreamReader) -> Any:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    return json.loads(await reader.readexactly(length))


async def _reply(
    writer: asyncio.StreamWriter,
    behaviour: str,
    documents: Sequence[str],
    number: int,
    rng: random.Random,
) -> None:
    match behaviour:
        case "hangs":
            await asyncio.Event().wait()
        case "resets":
            raise ConnectionAbortedError
        case "garbage":
            _send(writer, *_GARBAGE[number % len(_GARBAGE)])
        case _:
            wait_s = {"good": PROMPT_S, "slow": SLOW_S}.get(behaviour) or rng.uniform(*LATE_S)
            await asyncio.sleep(wait_s)
            results = [
                {"index": index, "relevance_score": relevance(document)}
                for index, document in enumerate(documents)
            ]
            _send(writer, 200, json.dumps({"results": results}).encode())


def _send(writer: asyncio.StreamWriter, status: int, content: bytes) -> None:
    head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behaviour", choices=BEHAVIOURS, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.behaviour))
