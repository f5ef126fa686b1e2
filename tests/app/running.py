"""A service in a process of its own, as people run it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil

from app.settings import PREFIX
from tests.app.conftest import TOKEN
from tests.free_ports import free_port

LONGTAIL = Path(__file__).parents[2] / "longtail.py"
SLOW_LONGTAIL = Path(__file__).parent / "slow_longtail.py"


@dataclass
class Running:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    environment: dict[str, str]
    log_path: Path
    ready_line: str = ""

    @property
    def log(self) -> str:
        """What it wrote on stderr."""
        return self.log_path.read_text()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/health/live")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = "json" in response.headers.get("content-type", "")
        return response.status, json.loads(content) if is_json else content.decode()

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, the oldest first."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has ended since
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found, key=lambda child: child.create_time())

    def rerankers(self) -> list[psutil.Process]:
        """The reranker's process, in a list that is empty while there is none."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "app.reranking.process" in child.cmdline():
                    found.append(child)
        return found

    def end(self, signal_: signal.Signals, seconds: float = 60) -> int:
        """Its exit status after a signal; all processes that it started are gone then."""
        if self.process.poll() is None:
            family = [*psutil.Process(self.process.pid).children(recursive=True)]
            self.process.send_signal(signal_)
            self.process.wait(seconds)
            _, alive = psutil.wait_procs(family, timeout=60)
            assert not alive, alive
        return self.process.returncode

    def store_url(self) -> str:
        return f"unix://{self.environment['LONGTAIL_STORE_DIR']}/valkey.sock"


@contextmanager
def started(
    folder: Path,
    bundle: Path,
    *flags: str,
    script: Path = LONGTAIL,
    **variables: str,
) -> Iterator[Running]:
    """A service that was started a moment ago; whatever becomes of it, it leaves nothing."""
    port = free_port()
    (folder / "temporary").mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)} | {
        "LONGTAIL_STORE_DIR": str(folder / "store"),
        "LONGTAIL_BUNDLES_DIR": str(folder / "bundles"),
        "LONGTAIL_ADMIN_TOKEN": TOKEN,
        "LONGTAIL_STORE_TIMEOUT_MS": "2000",
        # Other tests keep the cores busy, and at the lowest priority it would wait for their end.
        "LONGTAIL_RERANK_PRIORITY": "normal",
        "TMPDIR": str(folder / "temporary"),
        **variables,
    }
    command = [sys.executable, str(script), "serve", "--port", str(port), *flags]
    log_path = folder / "log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [*command, "--bundle", str(bundle)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        running = Running(process, port, environment, log_path)
        try:
            yield running
        finally:
            running.end(signal.SIGINT)
            assert list((folder / "temporary").iterdir()) == []
            assert list((folder / "store").glob("metrics-*")) == []
            assert list((folder / "store").glob("longtail-rerank-*")) == []


@contextmanager
def serving(folder: Path, bundle: Path, *flags: str, **options: Any) -> Iterator[Running]:
    """A service that answers."""
    with started(folder, bundle, *flags, **options) as running:
        assert running.process.stdout is not None
        impatience = threading.Timer(180, running.process.kill)
        impatience.start()
        running.ready_line = running.process.stdout.readline()
        impatience.cancel()
        assert running.ready_line
        yield running


@dataclass
class Load:
    """Requests one after another from a thread, on one connection, for each of the users."""

    port: int
    reconnects: bool = False
    user_ids: Sequence[str] = ("u1",)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        bodies = cycle([json.dumps({"user_id": user_id, "k": 5}) for user_id in self.user_ids])
        while not self._ended.is_set():
            body = next(bodies)
            started = time.perf_counter()
            connection.request("POST", "/recommend", body)
            response = connection.getresponse()
            self.answers.append((response.status, json.loads(response.read())))
            self.seconds.append(time.perf_counter() - started)
            if self.reconnects or response.will_close:
                connection.close()
            time.sleep(0.001)
