"""Events at full rate while the archiver, the store and a worker are killed again and again.

`python -m tests.end_to_end.event_log_kills --bundle FOLDER --events 200000` prints what came of it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import polars as pl
import psutil

from tests.app.running import LONGTAIL, Running, serving

AT_ONCE = 10
"""Events of a request, five of a user."""


@dataclass
class Result:
    """What was acknowledged, and what the archive has.

    Attributes:
        acknowledged: event_ids.
        missing: those of them that the archive lacks.
        repeated: event_ids that it has more than once.
        kills: by what was killed.
    """

    acknowledged: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)


def run(bundle: Path, folder: Path, n_events: int, pause_s: float, kills: int = 0) -> Result:
    """Send events, kill, archive what is left, and compare.

    Args:
        bundle: to serve.
        folder: for everything.
        n_events: to send; those that are not acknowledged are not sent again.
        pause_s: between two kills.
        kills: go on with the last events until there were so many.
    """
    result = Result()
    with serving(folder, bundle, "--workers", "2") as running:
        with archiving(running, folder) as archiver, killing(running, archiver, pause_s, result):
            send(running.port, n_events, result, lambda: result.kills.total() >= kills)
        wait_until_replayed(running)
        archive(running, folder)
    found = pl.read_parquet(folder / "archive" / "**/*.parquet")["event_id"]
    counts = Counter(found.to_list())
    result.missing = result.acknowledged - counts.keys()
    result.repeated = {event_id for event_id, n in counts.items() if n > 1}
    return result


def send(port: int, n_events: int, result: Result, is_enough: Callable[[], bool]) -> None:
    """Send events from two threads, and note which were acknowledged."""

    def work(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        number = first
        while number < n_events or not is_enough():
            numbers = range(number, number + 2 * AT_ONCE, 2)
            number += 2 * AT_ONCE
            ids = [f"e{one}" for one in numbers]
            events = [
                {
                    "user_id": f"w{one // 10}",
                    "item_id": "i1",
                    "event_id": f"e{one}",
                    "timestamp": one,
                }
                for one in numbers
            ]
            try:
                connection.request("POST", "/events", json.dumps({"events": events}))
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            if response.status == 200:
                result.acknowledged.update(ids)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Archiver:
    """`longtail events archive` in a process, which is started again when it was killed."""

    def __init__(self, running: Running, folder: Path) -> None:
        self._environment = running.environment
        self._command = [*archive_command(folder), "--every", "1s"]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill it, and start it again."""
        self.end()
        self.process = self._start()

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def archiving(running: Running, folder: Path) -> Iterator[Archiver]:
    """An archiver that runs meanwhile."""
    archiver = Archiver(running, folder)
    try:
        yield archiver
    finally:
        archiver.end()


@contextmanager
def killing(running: Running, archiver: Archiver, pause_s: float, result: Result) -> Iterator[None]:
    """Kill the archiver, the store and a worker meanwhile, one after the other."""
    ended = threading.Event()

    def kill_store() -> None:
        for child in psutil.Process(running.process.pid).children(recursive=True):
            if "valkey" in child.name():
                child.kill()

    def kill_worker() -> None:
        running.workers()[-1].kill()

    def work() -> None:
        targets = {"archiver": archiver.kill, "store": kill_store, "worker": kill_worker}
        for name, kill in cycle(targets.items()):
            if ended.wait(pause_s):
                return
            with contextlib.suppress(psutil.Error, IndexError):  # it is being started
                kill()
                result.kills[name] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait_until_replayed(running: Running, limit_s: float = 120) -> None:
    """Wait until no event waits in a journal."""
    until_s = time.monotonic() + limit_s
    while list(Path(running.environment["LONGTAIL_STORE_DIR"]).glob("journal-*.jsonl")):
        assert time.monotonic() < until_s, "events wait in a journal"
        time.sleep(0.1)


def archive_command(folder: Path) -> list[str]:
    """The archiver's, without how often."""
    return [sys.executable, str(LONGTAIL), "events", "archive", "--out", str(folder / "archive")]


def archive(running: Running, folder: Path) -> None:
    """Archive all that is left."""
    subprocess.run([*archive_command(folder), "--once"], env=running.environment, check=True)


def main() -> int:
    """Run it and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between two kills")
    given = parser.parse_args()
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = run(given.bundle, Path(folder), given.events, given.pause)
    print(
        f"{len(result.acknowledged):,} acknowledged of {given.events:,}, "
        f"{len(result.missing):,} missing, {len(result.repeated):,} repeated, "
        f"killed {dict(result.kills)}, {time.monotonic() - begun_s:.0f} s"
    )
    return bool(result.missing or result.repeated)


if __name__ == "__main__":
    sys.exit(main())
