"""Has the process of a service's reranker fail: it is stopped, or killed again and again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.api import ask
from loadtest.bench.watch import Watch
from loadtest.children import Child
from loadtest.errors import TargetError

PROCESS = "app.reranking.process"


@dataclass
class Killer(Watch):
    """Kills the reranker's process again and again.

    Attributes:
        child: the service.
        once_ready: leave a new process alone until it has loaded the version.
        n_killed: how many processes it killed.
    """

    child: Child
    once_ready: bool
    interval_s: float = 0.25
    n_killed: int = 0

    def look(self) -> bool:
        """See `Watch.look`."""
        if not self.once_ready or is_ready(self.child):
            for pid in self.child.processes_of(PROCESS):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.n_killed += 1
        return True


@contextlib.contextmanager
def stopped(child: Child) -> Iterator[None]:
    """Within the context the reranker's process is there and does nothing.

    Raises:
        TargetError: the service has no such process.
    """
    pids = child.processes_of(PROCESS)
    if not pids:
        raise TargetError(f"{child.name} has no reranker's process to be stopped")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def is_ready(child: Child) -> bool:
    """Whether the service has a reranker that is loaded."""
    _, answer = ask(child.address, "GET", "/health/ready")
    return isinstance(answer, dict) and answer.get("reranker") == "ready"
