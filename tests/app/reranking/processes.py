"""A real process of the reranker, and a client for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from app.reranking.client import RerankClient
from tests.app.conftest import PATIENCE_S

ROOT = Path(__file__).parents[3]
# Other tests keep the cores busy, and at the lowest priority it would wait for their end.
PROGRAM = (sys.executable, "-m", "app.reranking.process")
NORMALLY = ("--priority", "normal")
T = TypeVar("T")


@contextmanager
def rerank_process(
    socket: Path, *options: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends with the context."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "app.reranking.process",
            "--socket",
            str(socket),
            *NORMALLY,
            *options,
        ],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def with_client(path: Path, use: Callable[[RerankClient], Awaitable[T]]) -> T:
    """Run something with a client, which is closed afterwards."""

    async def run() -> T:
        client = RerankClient(path)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await use(client)
        finally:
            await client.close()

    return asyncio.run(run())
