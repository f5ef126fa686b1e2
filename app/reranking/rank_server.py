"""Takes jobs from all workers, ranks those that wait together, and answers each."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.reranking.backend import BackendConfig
from app.reranking.job import Answer, RerankError
from app.reranking.messages import (
    MAX_LINE_BYTES,
    Forgotten,
    LoadRequest,
    MalformedMessage,
    Ping,
    RankRequest,
    Request,
    alive_line,
    answer_line,
    error_line,
    read_request,
    ready_line,
)
from app.reranking.versions import Versions
from model_store.errors import LongtailError

if TYPE_CHECKING:
    from app.reranking.version import Version

log = logging.getLogger(__name__)

# Jobs that may wait; a graph on two cores needs some 20 s for so many.
MAX_WAITING = 64
# Requests to an endpoint that are under way at once.
CONCURRENT_REQUESTS = 8
# Longest time for jobs that are ranked together: long after all who asked have given up.
MAX_RANK_S = 300.0
# Answers that a worker hasn't read; one that was stopped must not fill the memory here.
MAX_UNREAD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Waiting:
    request: RankRequest
    worker: asyncio.StreamWriter
    since_s: float

    @property
    def is_wanted(self) -> bool:
        return not self.worker.is_closing()


class RankServer:
    """Serves the protocol of `app.reranking.messages` on a Unix socket."""

    def __init__(self, config: BackendConfig) -> None:
        self._forgotten: set[bytes] = set()
        self._versions = Versions(config, self._forgotten)
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Condition()
        # A graph has all threads of the budget; an endpoint is waited for, not computed.
        self._n_rankers = CONCURRENT_REQUESTS if config.endpoint else 1
        self._max_rank_s = None if config.endpoint else MAX_RANK_S
        self._loads: set[asyncio.Task[None]] = set()

    async def run(self, path: Path) -> None:
        """Listen and answer until this is cancelled.

        Raises:
            OSError: the socket can't be made.
        """
        server = await asyncio.start_unix_server(self._serve, str(path), limit=MAX_LINE_BYTES)
        async with server, asyncio.TaskGroup() as group:
            for _ in range(self._n_rankers):
                group.create_task(self._rank_on())
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, worker: asyncio.StreamWriter) -> None:
        """Read one worker's requests until it goes, or sends something else."""
        try:
            while line := await reader.readline():
                await self._receive(read_request(line), worker)
        except (MalformedMessage, ValueError) as error:
            log.warning("a worker's connection is closed: %s", error)
        except OSError:
            pass  # the worker has ended
        finally:
            worker.transport.abort()

    async def _receive(self, request: Request, worker: asyncio.StreamWriter) -> None:
        match request:
            case Ping(number):
                _send(worker, alive_line(number))
            case Forgotten(number, digests):
                self._forgotten.update(digests)
                _send(worker, alive_line(number))
            case LoadRequest():
                task = asyncio.create_task(self._load(request, worker))
                self._loads.add(task)
                task.add_done_callback(self._loads.discard)
            case RankRequest(number, job):
                if self._versions.get(job.version) is None:
                    reason = f"version {job.version} is not loaded"
                    _send(worker, error_line(number, reason, not_loaded=True))
                elif len(self._waiting) >= MAX_WAITING:
                    _send(worker, error_line(number, f"{MAX_WAITING} jobs wait already"))
                else:
                    self._waiting.append(_Waiting(request, worker, time.monotonic()))
                    async with self._arrived:
                        self._arrived.notify()

    async def _load(self, request: LoadRequest, worker: asyncio.StreamWriter) -> None:
        try:
            await self._versions.load(request.version, request.folder)
            _send(worker, ready_line(request.number))
        except LongtailError as error:
            _send(worker, error_line(request.number, str(error)))
        except Exception as error:
            log.exception("version %s could not be loaded", request.version)
            _send(worker, error_line(request.number, f"{type(error).__name__} in a load"))

    async def _rank_on(self) -> None:
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: self._waiting)
            version, batch = self._take_batch()
            if not batch:
                continue
            answers: Sequence[Answer | RerankError]
            try:
                if version is None:
                    raise RerankError("its version was dropped for newer ones")
                async with asyncio.timeout(self._max_rank_s):
                    answers = await version.rank([one.request.job for one in batch])
            except TimeoutError:
                # A computation can't be ended, and the next one would wait for it.
                log.error("%d jobs took more than %.0f s; the process ends", len(batch), MAX_RANK_S)
                signal.raise_signal(signal.SIGTERM)
                return
            except RerankError as error:
                answers = [error] * len(batch)
            except Exception as error:
                log.exception("%d jobs could not be ranked", len(batch))
                answers = [RerankError(f"{type(error).__name__} in a rank")] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                _send(one.worker, _reply(one, answer))

    def _take_batch(self) -> tuple[Version | None, list[_Waiting]]:
        """The longest waiting job, with others of its version; those of ended workers are left."""
        while self._waiting and not self._waiting[0].is_wanted:
            self._waiting.popleft()
        if not self._waiting:
            return None, []
        name = self._waiting[0].request.job.version
        version = self._versions.get(name)
        limit = version.backend.max_prompts if version else MAX_WAITING
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        for one in self._waiting:
            if not one.is_wanted:
                continue
            if one.request.job.version == name and len(batch) < limit:
                batch.append(one)
            else:
                others.append(one)
        self._waiting = others
        return version, batch


def _reply(one: _Waiting, answer: Answer | RerankError) -> bytes:
    if isinstance(answer, RerankError):
        return error_line(one.request.number, str(answer))
    return answer_line(one.request.number, answer, 1e3 * (time.monotonic() - one.since_s))


def _send(worker: asyncio.StreamWriter, line: bytes) -> None:
    if worker.is_closing():
        return
    if worker.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
        log.warning("a worker reads no answers; its connection is closed")
        worker.transport.abort()
        return
    worker.write(line)
