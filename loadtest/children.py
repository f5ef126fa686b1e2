"""Server processes that a benchmark starts, pins to a core, measures and always ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.api import ask
from loadtest.errors import TargetError
from loadtest.hardware import ROOT
from loadtest.target import Address

START_TIMEOUT_S = 180.0  # a first start publishes the bundle into an empty store
_STOP_TIMEOUT_S = 15.0
_LOG_LINES_SHOWN = 5


class Child:
    """One server on a free port of this machine; use as a context manager.

    `{port}` in `command` is replaced by the port. With `core` set, the process and its children run
    on that core only.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
        ready_path: str | None = "/health/ready",
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.address = Address("127.0.0.1", _free_port())
        self._command = [word.replace("{port}", str(self.address.port)) for word in command]
        self._core = core
        self._environment = {**os.environ, **(environment or {})}
        self._ready_path = ready_path
        self._start_timeout_s = start_timeout_s

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, [str(ROOT), self._environment.get("PYTHONPATH")]))
        self._log = tempfile.TemporaryFile()
        with pinned_to(self._core):
            self._process = subprocess.Popen(
                self._command,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={**self._environment, "PYTHONPATH": path},
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds that the server and its children have used; None where it isn't Linux."""
        try:
            return sum(_cpu_s_of(pid) for pid in _tree(self._process.pid))
        except (OSError, ValueError):
            return None

    def processes(self) -> dict[int, str]:
        """Process ids and program names of the server and its children; Linux only."""
        found = {}
        for pid in _tree(self._process.pid):
            try:
                found[pid] = Path(f"/proc/{pid}/exe").resolve().name
            except OSError:  # ended meanwhile
                continue
        return found

    def processes_of(self, module: str) -> list[int]:
        """Process ids of the server's children that run a module of Python; Linux only."""
        found = []
        for pid in _tree(self._process.pid):
            with contextlib.suppress(OSError):  # ended meanwhile
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if module.encode() in words:
                    found.append(pid)
        return found

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise TargetError(
                    f"{self.name} ended with exit code {self._process.returncode}: {self._tail()}"
                )
            if self._is_ready():
                return
            time.sleep(0.1)
        raise TargetError(
            f"{self.name} is not ready after {self._start_timeout_s:g} s: {self._tail()}"
        )

    def _is_ready(self) -> bool:
        try:
            if self._ready_path is not None:
                return ask(self.address, "GET", self._ready_path, timeout_s=2.0)[0] == 200
            socket.create_connection((self.address.host, self.address.port), timeout=1).close()
        except (TargetError, OSError):
            return False
        return True

    def _tail(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-_LOG_LINES_SHOWN:]) or "it printed nothing"

    def _end(self) -> None:
        """Terminate it, so that it ends its own children; after a while, kill the whole group."""
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            self._log.close()


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """Run the body on one core; a child started in it stays on that core."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            children = [(task / "children").read_text() for task in tasks]
        except OSError:  # ended meanwhile, unless it is the process itself
            if parent == pid:
                raise
            continue
        found += [int(child) for text in children for child in text.split()]
    return found


def _cpu_s_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
