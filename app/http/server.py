"""The server of the application: its configuration, and its shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from app.http.protocol import LimitedProtocol
from app.settings import Settings

if TYPE_CHECKING:
    from app.service import Service

# Longer than the idle time after which common load balancers close a connection.
KEEP_ALIVE_S = 75
BEAT_S = 0.2


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for the application."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        workers=settings.workers,
        http=LimitedProtocol,
        loop="uvloop" if sys.platform != "win32" else "auto",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # To read them costs every request. Only wrong admin tokens are counted by address, and a
        # caller could write any into such a header.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_timeout_ms / 1e3,  # type: ignore[arg-type]
    )


class Server(uvicorn.Server):
    """uvicorn's server for a service; it ends when the service fails.

    Args:
        config: of `server_config`.
        service: of the application.
        beat: called every `BEAT_S` with whether requests are accepted and the first load is over.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, beat: Callable[[bool], None] | None = None
    ) -> None:
        super().__init__(config)
        self._service = service
        self._beat = beat

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes or the service fails.

        Unlike uvicorn's own, it does not wait for threads: one may be in the middle of a load of
        minutes.

        Raises:
            LongtailError: the service failed.
        """
        factory = self.config.get_loop_factory() or asyncio.new_event_loop
        loop = factory()
        try:
            loop.run_until_complete(self.serve(sockets))
        finally:
            loop.close()
        if self._service.failure is not None:
            raise self._service.failure

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes or the service fails."""
        background = [asyncio.create_task(self._end_on_failure())]
        if self._beat is not None:
            background.append(asyncio.create_task(self._beat_on(self._beat)))
        try:
            await super().serve(sockets)
        finally:
            for task in background:
                task.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: stop waiting for the first load."""
        super().handle_exit(sig, frame)
        self._service.end()

    async def _end_on_failure(self) -> None:
        await self._service.started.wait()
        if self._service.failure is not None:
            self.should_exit = True

    async def _beat_on(self, beat: Callable[[bool], None]) -> None:
        while True:
            beat(self.started and self._service.started.is_set())
            await asyncio.sleep(BEAT_S)


def end_process(status: int) -> NoReturn:
    """End this process without waiting for its threads."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
