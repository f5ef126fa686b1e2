"""Starts, watches, replaces and ends worker processes.

Each worker sends heartbeats from its event loop. One without a heartbeat for a minute counts as
hung, and is killed and replaced. The minute is long on purpose: a healthy worker that reads a large
catalogue may hold the interpreter for many seconds. Each of these events is a line in the log.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from app.http.server import Server, end_process, server_config
from app.settings import Settings
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import MULTIPROCESS_DIR
from model_store.errors import LongtailError

log = logging.getLogger(__name__)

HANG_S = 60.0
LOOK_S = 0.1
# Pauses before a worker that ended soon after its start is started again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
SOON_S = 10.0
# Time in which a worker must end, beyond the time that its requests get.
END_S = 5.0
STARTING, READY = b".", b"r"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Worker:
    """A worker process, as its supervisor sees it.

    Args:
        settings: of the service.
        listener: the socket that all workers accept connections from.
        accepts: if given, accept connections only when the first load is over and this is readable.
        go: if given, the worker loads when this becomes readable.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        *,
        accepts: Connection | None = None,
        go: Connection | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._beats, theirs = context.Pipe(duplex=False)
        self.process = context.Process(
            target=run_worker, args=(settings, listener, theirs, go, accepts)
        )
        self.process.start()
        theirs.close()
        self.is_ready = False
        self.started_s = self._beat_s = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self.process.pid

    def look(self) -> None:
        """Read its heartbeats; kill it if it hangs."""
        now_s = time.monotonic()
        if self._beats.poll():
            beats = os.read(self._beats.fileno(), 65536)
            self.is_ready = self.is_ready or READY in beats
            if beats:
                self._beat_s = now_s
        if now_s - self._beat_s > HANG_S:
            log.error("worker %s sent no heartbeat for %.0f s and is killed", self.pid, HANG_S)
            self.process.kill()
            self.process.join()

    def end(self, deadline_s: float) -> None:
        """Wait for its end, to be asked for with `process.terminate`; kill it past the deadline."""
        self.process.join(max(0.0, deadline_s - time.monotonic()))
        if self.process.is_alive():
            log.error("worker %s did not end in time and is killed", self.pid)
            self.process.kill()
            self.process.join()
        self._beats.close()


class Supervisor:
    """Runs workers until a signal comes.

    Args:
        settings: of the service; `workers` of them.
        listener: the socket that they accept connections from.
        prepare: called here before any worker loads a model; the first one listens meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._prepare = prepare
        self._workers: list[Worker] = []
        self._pauses_s = [FIRST_PAUSE_S] * settings.workers
        self._start_again_s: dict[int, float] = {}
        self._end_s = settings.shutdown_timeout_ms / 1e3 + END_S
        self._ends = False
        self._renews = False
        # Readable from the moment that `_first_answers` is closed, in all workers.
        self._accepts, self._first_answers = multiprocessing.Pipe(duplex=False)

    def is_ready(self) -> bool:
        """Whether every worker accepts requests, its first load over."""
        return len(self._workers) == self._settings.workers and all(
            worker.is_ready for worker in self._workers
        )

    def run(self) -> None:
        """Start workers, watch them, and end them when a signal comes.

        Raises:
            LongtailError: `prepare` failed.
        """
        context = multiprocessing.get_context("spawn")
        waits_for_go, go = context.Pipe(duplex=False)
        try:
            # It answers from the first moment that nothing is ready yet, for all of them. The
            # others take no request before they can answer it, nor before the first one can: as
            # soon as one says that the service is ready, it is.
            self._workers.append(Worker(self._settings, self._listener, go=waits_for_go))
            if self._prepare is not None:
                self._prepare()
            with self._signals_noted():
                go.send_bytes(b"go")
                while len(self._workers) < self._settings.workers:
                    self._workers.append(self._start())
                self._watch(lambda: False)
        finally:
            self._end_all()

    @contextlib.contextmanager
    def _signals_noted(self) -> Iterator[None]:
        def note(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._renews = True
            else:
                self._ends = True

        before = {number: signal.signal(number, note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, is_over: Callable[[], bool]) -> None:
        """Watch the workers until a condition holds, or a signal to end came."""
        while not self._ends and not is_over():
            time.sleep(LOOK_S)
            for place in range(len(self._workers)):
                self._look_after(place)
            if self._renews:
                self._renews = False
                self._renew_all()

    def _look_after(self, place: int) -> None:
        worker, now_s = self._workers[place], time.monotonic()
        if worker.process.is_alive():
            worker.look()
            if place == 0 and worker.is_ready:
                self._first_answers.close()
            return
        # If it has ended, the others answer.
        self._first_answers.close()
        if place not in self._start_again_s:
            lived_s = now_s - worker.started_s
            pause_s = self._pauses_s[place] if lived_s < SOON_S else 0.0
            self._pauses_s[place] = min(2 * pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
            self._start_again_s[place] = now_s + pause_s
            log.error(
                "worker %s ended with exit code %s; another is started in %.1f s",
                *(worker.pid, worker.process.exitcode, pause_s),
            )
        if now_s >= self._start_again_s[place]:
            del self._start_again_s[place]
            worker.end(now_s)
            self._workers[place] = self._start()

    def _renew_all(self) -> None:
        """Replace each worker, the new one ready before the old one goes."""
        log.info("SIGHUP: workers are replaced one after another")
        for place in range(len(self._workers)):
            new = self._start()

            def is_settled(new: Worker = new) -> bool:
                new.look()
                return new.is_ready or not new.process.is_alive()

            self._watch(is_settled)
            old = self._workers[place]
            if not new.is_ready:
                new.process.kill()
                new.end(time.monotonic())
                if not self._ends:
                    log.error("a new worker did not start; worker %s stays", old.pid)
                return
            self._workers[place] = new
            self._start_again_s.pop(place, None)
            old.process.terminate()
            old.end(time.monotonic() + self._end_s)

    def _start(self) -> Worker:
        return Worker(self._settings, self._listener, accepts=self._accepts)

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        deadline_s = time.monotonic() + self._end_s
        for worker in self._workers:
            worker.end(deadline_s)


def run_worker(
    settings: Settings,
    listener: socket.socket,
    beats: Connection,
    go: Connection | None,
    accepts: Connection | None,
) -> None:
    """The main function of a worker process; it ends with its supervisor."""
    # After the server's own shutdown a signal has nothing left to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.set_blocking(beats.fileno(), False)
    _end_with_parent()
    configure_logging(settings.log_level, settings.log_format)
    from app.main import create_app

    def beat(is_ready: bool) -> None:
        # A supervisor that was stopped reads nothing, which is no reason to wait for it.
        with contextlib.suppress(OSError):
            os.write(beats.fileno(), READY if is_ready else STARTING)

    status = 0
    try:
        app = create_app(
            settings,
            prepare=None if go is None else lambda: _wait_for(go),
            accepts=None if accepts is None else accepts.poll,
        )
        server = Server(server_config(app, settings), app.state.service, beat)
        server.run(sockets=[listener])
    except LongtailError as error:
        log.error("%s", error)
        status = 1
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        log.exception("a worker failed")
        status = 1
    if _is_orphan():
        shutil.rmtree(Path(os.environ[MULTIPROCESS_DIR]), ignore_errors=True)
    end_process(status)


def _wait_for(go: Connection) -> None:
    with contextlib.suppress(EOFError):  # the supervisor has ended, and so will this process
        go.recv_bytes()


def _is_orphan() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - a worker is a child

    def wait_for_end() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True, name="parent").start()
