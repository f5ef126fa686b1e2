"""Starts, watches, replaces and ends the reranker's process, for one worker or for many.

The process is pinged over its socket. One that doesn't answer for a minute counts as hung, and is
killed and replaced. Each of these events is a line in the log; the process's own lines are there
too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from app.folders import SOCKET, socket_folder
from app.reranking import lowest_priority
from app.reranking.messages import Ping, request_line
from app.reranking.process import KEY_VARIABLE, URL_VARIABLE
from app.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 0.5
# Looks without an answer before it counts as hung. At the lowest priority it gets next to nothing
# of a busy machine, least of all while it starts.
HANG_LOOKS, START_LOOKS = 120, 600
# Pauses before a process that ended soon after its start is started again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
SOON_S = 10.0
END_S = 3.0
MAX_THREADS = 4
AT_LOWEST_PRIORITY = (sys.executable, "-I", "-S", str(Path(lowest_priority.__file__)))


@contextlib.contextmanager
def reranker_process(settings: Settings, *, own_session: bool = False) -> Iterator[Settings]:
    """Run the reranker's process within the context, where the settings ask for one.

    Nothing waits for it: it may come up while the service answers already.

    Args:
        settings: of the service.
        own_session: the requests that it must not delay are answered by another session's service;
            see `app.reranking.lowest_priority`.

    Yields:
        the settings, with the socket of the process.

    Raises:
        ConfigError: there is no folder for its socket.
    """
    if not settings.rerank:
        yield settings.model_copy(update={"rerank_socket": None})
        return
    if settings.rerank_socket is not None:
        yield settings
        return
    with socket_folder(settings.store_dir) as folder:
        path = folder / SOCKET
        supervisor = RerankSupervisor(settings, path, own_session=own_session)
        supervisor.start()
        try:
            yield settings.model_copy(update={"rerank_socket": path})
        finally:
            supervisor.end()


class RerankSupervisor:
    """Keeps one process running from a thread.

    Args:
        settings: of the service.
        path: of the socket that the process listens on.
        own_session: the process gets a session of its own.
    """

    def __init__(self, settings: Settings, path: Path, *, own_session: bool = False) -> None:
        self._settings, self._path = settings, path
        self._own_session = own_session
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="reranker")

    def start(self) -> None:
        """Start the process, and watch it from now on."""
        self._thread.start()

    def end(self) -> None:
        """End the process; it is gone when this returns."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            started_s = time.monotonic()
            try:
                with self._launch() as process:
                    try:
                        fault = self._watch(process)
                    finally:
                        _end(process)
            except OSError as error:
                fault = f"could not be started ({error.strerror})"
            if self._ended.is_set():
                return
            if time.monotonic() - started_s >= SOON_S:
                pause_s = FIRST_PAUSE_S
            log.error("the reranker's process %s; another is started in %.1f s", fault, pause_s)
            self._ended.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _launch(self) -> subprocess.Popen[bytes]:
        is_lowest = self._settings.rerank_priority == "lowest"
        return subprocess.Popen(
            [
                *(AT_LOWEST_PRIORITY if is_lowest else ()),
                *rerank_command(self._settings, self._path),
            ],
            env=rerank_environment(self._settings),
            stdin=subprocess.PIPE,  # its end tells the process that this one has ended
            stdout=subprocess.DEVNULL,  # the service's own may be waited for
            # A Ctrl-C ends the caller first.
            start_new_session=self._own_session,
            process_group=None if self._own_session else 0,
        )

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Return when it has ended or hangs, with a few words on it, or when it is to end."""
        with contextlib.closing(Pulse(self._path)) as pulse:
            while not self._ended.wait(LOOK_S):
                if process.poll() is not None:
                    return f"{process.pid} ended with exit code {process.returncode}"
                if pulse.is_lost():
                    process.kill()
                    seconds = pulse.n_unanswered * LOOK_S
                    return f"{process.pid} did not answer for {seconds:.0f} s and was killed"
        return "is to end"


class Pulse:
    """Pings a process; looks without an answer are counted, not time.

    A service that was stopped itself for a while has not looked, and must not blame the process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: socket.socket | None = None
        self._has_answered = False
        self.n_unanswered = 0

    def is_lost(self) -> bool:
        """Look once; whether there was no answer for too long."""
        self.n_unanswered += 1
        try:
            if self._connection is None:
                self._connection = self._connect()
            elif self._connection.recv(4096):
                self._has_answered, self.n_unanswered = True, 0
                self._connection.sendall(_PING)
            else:
                self._disconnect()
        except BlockingIOError:
            pass  # no answer yet
        except OSError:
            self._disconnect()
        return self.n_unanswered > (HANG_LOOKS if self._has_answered else START_LOOKS)

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            connection.connect(str(self._path))
            connection.sendall(_PING)
        except OSError:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_PING = request_line(Ping(0))


def rerank_command(settings: Settings, path: Path) -> list[str]:
    """The command line of the process; secrets are in its environment."""
    command = [
        *(sys.executable, "-P", "-m", "app.reranking.process"),
        *("--socket", str(path), "--as-child", str(path.parent)),
        *("--threads", str(settings.rerank_threads or min(_usable_cores(), MAX_THREADS))),
        *("--priority", settings.rerank_priority),
        *("--provider", settings.execution_provider),
        *("--api", settings.rerank_api),
        *("--timeout-ms", str(settings.rerank_timeout_ms)),
        *("--log-level", settings.log_level),
        *("--log-format", settings.log_format),
    ]
    if settings.rerank_model is not None:
        command += ["--model", settings.rerank_model]
    return command


def rerank_environment(settings: Settings) -> dict[str, str]:
    """Its environment: where this process imports from, and the endpoint's URL and key."""
    given = {URL_VARIABLE: settings.rerank_url, KEY_VARIABLE: settings.rerank_api_key}
    environment = {name: value for name, value in os.environ.items() if name not in given}
    environment |= {name: secret.get_secret_value() for name, secret in given.items() if secret}
    return environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
