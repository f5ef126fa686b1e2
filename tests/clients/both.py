"""The two Python clients behind one function, so that a test is about both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from longtail_client import AsyncClient, Client

KINDS = ("sync", "async")
Ask = Callable[..., Any]


def ask_with(kind: str) -> Ask:
    """`ask(url, method, *arguments, options={...}, **fields)` of one kind of client."""
    return _ask if kind == "sync" else _ask_async


def _ask(url: str, method: str, *arguments: Any, options: Any = None, **fields: Any) -> Any:
    with Client(url, **(options or {})) as client:
        return getattr(client, method)(*arguments, **fields)


def _ask_async(url: str, method: str, *arguments: Any, options: Any = None, **fields: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **(options or {})) as client:
            return await getattr(client, method)(*arguments, **fields)

    return asyncio.run(run())
