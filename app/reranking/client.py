"""A worker's connection to the reranker's process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.reranking.job import Answer, Job, RerankError
from app.reranking.messages import (
    MAX_LINE_BYTES,
    Document,
    Forgotten,
    LoadRequest,
    MalformedMessage,
    RankRequest,
    Request,
    read_answer,
    read_reply,
    request_line,
)
from model_store.forgotten import digest_of_user

log = logging.getLogger(__name__)

# Pauses before another connection is tried; each is twice the one before.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
# Before a version that was loaded by the last process is tried again.
RELOAD_PAUSE_S = 10.0
# Versions that stay loaded: the active one and the one before, or the one to come.
MAX_VERSIONS = 2
# A process that is stopped reads nothing, and what is sent to it piles up here.
MAX_UNREAD_BYTES = 1024 * 1024
# Forgotten users whom one line names; it has half of `MAX_LINE_BYTES` then.
_FORGOTTEN_AT_ONCE = 4_000


class RerankClient:
    """A `Reranker`; connects when the first version is loaded, and again after each loss.

    Args:
        path: of the process's Unix socket; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders: dict[str, Path] = {}
        self._loaded: dict[str, asyncio.Future[None]] = {}
        self._ready: set[str] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._loading: set[asyncio.Task[None]] = set()
        self._connection: _Connection | None = None
        self._forgotten: set[bytes] = set()
        self._forgotten_in_order: list[bytes] = []

    async def load(self, version: str, folder: Path) -> None:
        """See `Reranker`."""
        if self._folders.get(version) != folder or not self._is_expected(version):
            self._drop(version, "it was replaced")
            while len(self._folders) >= MAX_VERSIONS:
                self._drop(next(iter(self._folders)), "others were loaded since")
            self._folders[version] = folder
            loaded = self._loaded[version] = asyncio.get_running_loop().create_future()
            loaded.add_done_callback(_retrieve)
            self._start_loading(version)
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._keep_connected())
        await asyncio.shield(self._loaded[version])

    def is_ready(self, version: str) -> bool:
        """See `Reranker`."""
        return version in self._ready

    def is_loading(self, version: str) -> bool:
        """See `Reranker`."""
        loaded = self._loaded.get(version)
        return loaded is not None and not loaded.done()

    async def loaded(self, version: str) -> None:
        """See `Reranker`."""
        loaded = self._loaded.get(version)
        if loaded is None:
            raise RerankError(f"version {version} is not to be loaded")
        await asyncio.shield(loaded)

    async def ask(self, job: Job) -> Answer:
        """See `Reranker`."""
        connection = self._connection
        if connection is None:
            raise RerankError("the reranker's process can't be reached")
        if job.version not in self._ready:
            raise RerankError(f"the reranker has not loaded version {job.version}")
        reply = await connection.ask(RankRequest(connection.next_number(), job))
        if reply.get("not_loaded"):
            self._ready.discard(job.version)
            self._start_loading(job.version)
        with connection.closed_when_malformed():
            _raise_error(reply)
            answer = read_answer(reply, len(job.candidates))
        # Whose prompt was made before it was known.
        cited = answer.similar_user
        is_gone = cited is not None and digest_of_user(cited) in self._forgotten
        return replace(answer, similar_user=None) if is_gone else answer

    def forget(self, digests: Collection[bytes]) -> None:
        """See `Reranker`."""
        others = [digest for digest in digests if digest not in self._forgotten]
        self._forgotten.update(others)
        self._forgotten_in_order += others
        if self._connection is not None:
            self._connection.forget(others)

    async def close(self) -> None:
        """See `Reranker`."""
        tasks = [*self._loading, *([self._connecting] if self._connecting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for version in list(self._folders):
            self._drop(version, "the service is ending")

    def _is_expected(self, version: str) -> bool:
        """Whether a known version is ready, or is going to be."""
        return version in self._ready or self.is_loading(version)

    def _drop(self, version: str, reason: str) -> None:
        self._folders.pop(version, None)
        self._ready.discard(version)
        loaded = self._loaded.pop(version, None)
        if loaded is not None and not loaded.done():
            loaded.set_exception(RerankError(f"version {version} is not loaded: {reason}"))

    async def _keep_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with contextlib.suppress(OSError):
                streams = await asyncio.open_unix_connection(str(self._path), limit=MAX_LINE_BYTES)
                connection = _Connection(*streams)
                await self._tell_of_forgotten(connection)
                if await self._use(connection):
                    pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _tell_of_forgotten(self, connection: _Connection) -> None:
        """Tell a process of all of them, before it is asked anything.

        Others may be forgotten meanwhile, and requests have the loop between two lines.

        Raises:
            OSError: the connection was lost.
        """
        n_told = 0
        while some := self._forgotten_in_order[n_told : n_told + _FORGOTTEN_AT_ONCE]:
            connection.forget(some)
            n_told += len(some)
            await connection.written()
            await asyncio.sleep(0)

    async def _use(self, connection: _Connection) -> bool:
        """Load the versions and read until the connection is lost; whether it was of any use."""
        self._connection = connection
        for version in self._folders:
            self._start_loading(version)
        try:
            await connection.read()
        except RerankError as error:
            log.warning("the connection to the reranker was lost: %s", error)
        finally:
            self._connection = None
            was_ready = bool(self._ready)
            self._ready.clear()
        return was_ready

    def _start_loading(self, version: str) -> None:
        """Have the process load a version, if there is a connection."""
        connection, folder = self._connection, self._folders.get(version)
        if connection is not None and folder is not None:
            task = asyncio.create_task(self._load(connection, version, folder))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)

    async def _load(self, connection: _Connection, version: str, folder: Path) -> None:
        failure: RerankError | None = None
        try:
            reply = await connection.ask(LoadRequest(connection.next_number(), version, folder))
            with connection.closed_when_malformed():
                if reply.get("ready") is not True and "error" not in reply:
                    raise MalformedMessage(f"not an answer to a load: {reply!r:.100}")
            if "error" in reply:
                failure = RerankError(reply["error"])
        except RerankError:
            return  # the next connection loads it
        if self._folders.get(version) != folder:
            return
        loaded = self._loaded[version]
        if failure is None:
            self._ready.add(version)
            if not loaded.done():
                loaded.set_result(None)
        elif not loaded.done():
            loaded.set_exception(failure)
            del self._folders[version], self._loaded[version]
        else:  # it was loaded before, and can be again
            log.warning("the reranker can't load version %s again: %s", version, failure)
            asyncio.get_running_loop().call_later(RELOAD_PAUSE_S, self._start_loading, version)


class _Connection:
    """An open connection, with the requests that wait for their replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._last_number = 0
        self._waiting: dict[int, asyncio.Future[Document]] = {}
        self._fault: RerankError | None = None

    def next_number(self) -> int:
        """An id for a request."""
        self._last_number += 1
        return self._last_number

    async def ask(self, request: Request) -> Document:
        """The reply to a request.

        Raises:
            RerankError: the connection was lost, or nothing reads at its other end.
        """
        return await self._send(request)

    def forget(self, digests: Collection[bytes]) -> None:
        """Tell the process of forgotten users; one that can't be told is left."""
        every = tuple(digests)
        try:
            for start in range(0, len(every), _FORGOTTEN_AT_ONCE):
                some = every[start : start + _FORGOTTEN_AT_ONCE]
                self._send(Forgotten(self.next_number(), some)).add_done_callback(_retrieve)
        except RerankError as error:
            self._close(error)

    async def written(self) -> None:
        """Wait until the process has read most of what was sent.

        Raises:
            OSError: the connection was lost.
        """
        await self._writer.drain()

    def _send(self, request: Request) -> asyncio.Future[Document]:
        """Send a request; its reply is to come."""
        if self._fault is not None:
            raise RerankError(str(self._fault))
        if self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            raise RerankError("the reranker's process reads nothing")
        line = request_line(request)
        if len(line) > MAX_LINE_BYTES:
            raise RerankError(f"a request of {len(line):,} bytes is too long for the reranker")
        self._writer.write(line)
        reply: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = reply
        return reply

    async def read(self) -> None:
        """Hand replies to those who wait for them, until the connection is lost.

        Raises:
            RerankError: why it was lost.
        """
        try:
            while self._fault is None:
                self._hand_out(read_reply(await self._reader.readuntil()))
            raise self._fault
        except RerankError as error:
            self._close(error)
        except asyncio.LimitOverrunError:
            self._close(MalformedMessage(f"a reply of more than {MAX_LINE_BYTES:,} bytes"))
        except (OSError, asyncio.IncompleteReadError):
            self._close(RerankError("the reranker's process ended"))
        except asyncio.CancelledError:
            self._close(RerankError("the service is ending"))
            raise
        assert self._fault is not None  # noqa: S101 - `_close` sets it
        raise self._fault

    def _hand_out(self, reply: Document) -> None:
        waiting = self._waiting.pop(reply["id"], None)
        if waiting is None:
            raise MalformedMessage(f"a reply with id {reply['id']}, which no request has")
        if not waiting.done():  # else nobody waits for it any more
            waiting.set_result(reply)

    @contextlib.contextmanager
    def closed_when_malformed(self) -> Iterator[None]:
        """Close the connection when a reply turns out to be malformed."""
        try:
            yield
        except MalformedMessage as error:
            self._close(error)
            raise

    def _close(self, fault: RerankError) -> None:
        """End the connection: whoever waits gets a RerankError."""
        if self._fault is None:
            self._fault = fault
        self._writer.transport.abort()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(RerankError(str(self._fault)))


def _raise_error(reply: Document) -> None:
    if "error" in reply:
        raise RerankError(reply["error"])


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Mark a failure as seen: nobody waits for it, or who did was cancelled."""
    if not done.cancelled():
        done.exception()
