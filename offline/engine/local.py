"""Work in this process, or in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from model_store.errors import LongtailError
from model_store.parent_death import die_with_parent
from offline.engine.work import Compute, Part, Work
from offline.progress import leave_to_another

# Each process computes on one core: threads of several would wait for each other.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
# Parts that a process has waiting for it: it never waits for this one, and few sources lie there.
_WAITING_EACH = 2


class EngineError(LongtailError):
    """A process that computed was lost; what it had finished stays."""


def count_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class LocalEngine:
    """An `Engine` of one machine.

    Attributes:
        processes: that compute at a time; with 1 it is this one.
    """

    processes: int

    def describe(self) -> str:
        """See `Engine.describe`."""
        who = resource.RUSAGE_SELF if self.processes == 1 else resource.RUSAGE_CHILDREN
        peak = resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return f"processes: {self.processes}, of at most {peak / 1e6:,.0f} MB"

    def run(self, work: Work, parts: Iterable[Part]) -> Iterator[Part]:
        """See `Engine.run`."""
        if self.processes == 1:
            yield from _run_here(work, parts)
        else:
            yield from self._run_in_processes(work, parts)

    def _run_in_processes(self, work: Work, parts: Iterable[Part]) -> Iterator[Part]:
        left = iter(parts)
        # None for no work: where everything is there already, no process is started.
        first = [*islice(left, _WAITING_EACH * self.processes)]
        if not first:
            return
        with environment(ONE_THREAD), self._pool(work) as pool:
            waiting: dict[Future[None], Part] = {}
            try:
                waiting |= {pool.submit(_run_part, part): part for part in first}
                while waiting:
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        part = waiting.pop(future)
                        future.result()
                        yield part
                        waiting |= {pool.submit(_run_part, one): one for one in islice(left, 1)}
            except BrokenProcessPool:
                raise EngineError(
                    "a process that computed was ended from outside (too little memory?); "
                    "the same command goes on where it stopped"
                ) from None

    @contextmanager
    def _pool(self, work: Work) -> Iterator[ProcessPoolExecutor]:
        """Processes that end at once when this does, whatever they are at."""
        context = multiprocessing.get_context("spawn")
        before = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(
            self.processes, context, initializer=_begin, initargs=(work, os.getpid())
        )
        try:
            yield pool
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _run_here(work: Work, parts: Iterable[Part]) -> Iterator[Part]:
    compute: Compute | None = None
    for part in parts:
        compute = compute or work.open()
        part.run(compute)
        yield part


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables of processes that are started within."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Opened:
    """The work of this process, opened for its first part: errors then reach the caller."""

    work: Work
    compute: Compute | None = None


def _begin(work: Work, parent: int) -> None:
    die_with_parent(parent)  # which may have been killed while this one started
    leave_to_another()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C ends the first process, which ends this
    _Opened.work = work


def _run_part(part: Part) -> None:
    _Opened.compute = _Opened.compute or _Opened.work.open()
    part.run(_Opened.compute)
