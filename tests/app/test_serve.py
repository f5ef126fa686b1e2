"""`longtail serve` and `longtail models` as people run them: processes, sockets, signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

import longtail
from app.settings import PREFIX
from model_store.bundle import Bundle
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import TOKEN, wait_for
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow

LONGTAIL = Path(__file__).parents[2] / "longtail.py"
SLOW_LONGTAIL = Path(__file__).parent / "slow_longtail.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
        headers = {"Authorization": f"Bearer {TOKEN}"}
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

    def end(self, signal_: signal.Signals, seconds: float = 20) -> int:
        """Its exit status after a signal; all processes that it started are gone then."""
        if self.process.poll() is None:
            family = [*psutil.Process(self.process.pid).children(recursive=True)]
            self.process.send_signal(signal_)
            self.process.wait(seconds)
            _, alive = psutil.wait_procs(family, timeout=15)
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


@contextmanager
def serving(folder: Path, bundle: Path, *flags: str, **options: Any) -> Iterator[Running]:
    """A service that answers."""
    with started(folder, bundle, *flags, **options) as running:
        assert running.process.stdout is not None
        impatience = threading.Timer(60, running.process.kill)
        impatience.start()
        running.ready_line = running.process.stdout.readline()
        impatience.cancel()
        assert running.ready_line
        yield running


@pytest.fixture(scope="module")
def running(
    synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("serve"), synthetic_bundle.folder) as running:
        yield running


@dataclass
class Load:
    """Requests one after another from a thread, on one connection."""

    port: int
    reconnects: bool = False
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
        body = json.dumps({"user_id": "u1", "k": 5})
        while not self._ended.is_set():
            started = time.perf_counter()
            connection.request("POST", "/recommend", body)
            response = connection.getresponse()
            self.answers.append((response.status, json.loads(response.read())))
            self.seconds.append(time.perf_counter() - started)
            if self.reconnects or response.will_close:
                connection.close()
            time.sleep(0.001)


def test_the_ready_line_holds_a_call_that_works(running: Running) -> None:
    assert running.ready_line.startswith("Longtail is ready (version made-1, 60 items)")
    curl = shlex.split(running.ready_line.partition("try: ")[2])
    url, body = curl[2], curl[-1]
    assert url == f"http://127.0.0.1:{running.port}/recommend"
    status, answer = running.ask("POST", "/recommend", json.loads(body))
    assert status == 200
    assert answer["served_by"] == "model"
    assert len(answer["items"]) == 10
    assert all(item["fields"]["title"] for item in answer["items"])


def test_versions_are_swapped_under_load_without_a_failure(
    running: Running, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    second = make_bundle(tmp_path / "made-2", version="made-2", catalogue=make_catalogue(seed=8))
    with connect(running.store_url()) as client:
        publish(second, Path(running.environment["LONGTAIL_BUNDLES_DIR"]), client)
    with Load(running.port) as load:
        time.sleep(0.2)
        status, answer = running.ask("POST", "/admin/models/made-2/activate")
        assert (status, answer) == (200, {"active": "made-2", "previous": "made-1"})
        time.sleep(0.2)
        assert command("models", "rollback")[0] == 0
        wait_for(lambda: load.answers[-1][1]["model_version"] == "made-1")
    assert {status for status, _ in load.answers} == {200}
    by_version: dict[str, set[str]] = {}
    for _, answer in load.answers:
        items = json.dumps([(item["item_id"], item["score"]) for item in answer["items"]])
        by_version.setdefault(answer["model_version"], set()).add(items)
    # Each version has one answer to this request, and every answer names the one that made it.
    assert set(by_version) == {"made-1", "made-2"}
    assert all(len(items) == 1 for items in by_version.values())


def test_the_store_is_killed_under_load_and_comes_back_by_itself(running: Running) -> None:
    acknowledged = []
    with Load(running.port) as load:
        [store] = [
            child
            for child in psutil.Process(running.process.pid).children()
            if "valkey" in child.name()
        ]
        for number in range(30):
            if number == 10:
                store.kill()
            status, answer = running.ask(
                "POST", "/events", {"user_id": "k", "item_id": f"i{1 + number}"}
            )
            assert (status, answer["accepted"]) == (200, 1)
            acknowledged.append(f"i{1 + number}")
        wait_for(lambda: running.ask("GET", "/health/ready")[1]["store"] == "up", 15)
        wait_for(lambda: not load.answers[-1][1]["degraded"])
    assert {status for status, _ in load.answers} == {200}
    for _, answer in load.answers:
        assert answer["degraded"] in ([], ["features"])
    whole = {"user_id": "k", "k": 60}
    wait_for(lambda: len(running.ask("POST", "/recommend", whole)[1]["items"]) == 30)
    _, stored = running.ask("POST", "/recommend", whole)
    _, given = running.ask("POST", "/recommend", {"history": acknowledged, "k": 60})
    assert [i["item_id"] for i in stored["items"]] == [i["item_id"] for i in given["items"]]


@pytest.fixture
def command(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `longtail` next to the service: (exit status, stdout, stderr)."""
    for name, value in running.environment.items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = longtail.main(arguments)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_models_on_the_store_and_through_the_service(
    running: Running, command: Callable[..., tuple[int, str, str]]
) -> None:
    url = f"http://127.0.0.1:{running.port}"
    _, table, _ = command("models", "list")
    assert re.search(r"^\*\s+made-1\s+active\s+made\s+ndcg_at_10 0.1$", table, re.MULTILINE)
    for extra in ([], ["--url", url]):
        listed = json.loads(command("models", "list", "--json", *extra)[1])
        assert listed["active"] == "made-1"
        shown = json.loads(command("models", "show", "made-1", "--json", *extra)[1])
        assert shown["active"] is True
        status, _, error = command("models", "activate", "nothing", *extra)
        assert status == 1
        assert error.count("\n") == 1
        assert "'nothing' is not published" in error
    assert "active is made-1" in command("models", "activate", "made-1")[1]
    assert "metrics.ndcg_at_10  0.1" in command("models", "show", "made-1")[1]
    assert "token is wrong" in command("models", "list", "--url", url, "--token", "wrong")[2]
    status, _, error = command("models", "retire", "made-1")
    assert (status, "is active" in error) == (1, True)


def test_a_taken_port_is_one_clear_line(running: Running) -> None:
    command = [sys.executable, str(LONGTAIL), "serve", "--port", str(running.port)]
    result = subprocess.run(command, env=running.environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert f"can't listen on 127.0.0.1:{running.port}" in result.stderr
    assert result.stderr.count("\n") == 1


def live_and_ready(running: Running) -> tuple[int, int, str]:
    """Status of /health/live and /health/ready, and what the latter says."""
    status, document = running.ask("GET", "/health/ready")
    return running.ask("GET", "/health/live")[0], status, document.get("detail", "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_live_while_a_model_loads_and_ends_at_once(
    synthetic_bundle: Bundle, tmp_path: Path, workers: str
) -> None:
    with started(
        *(tmp_path, synthetic_bundle.folder, "--workers", workers),
        script=SLOW_LONGTAIL,
        SLOW_LOAD_S="60",
    ) as running:
        wait_for(running.answers, 20)
        assert live_and_ready(running)[:2] == (200, 503)
        wait_for(lambda: live_and_ready(running) == (200, 503, "version made-1 is being loaded"))
        status, document = running.ask("POST", "/recommend", {"user_id": "u1"})
        assert (status, document["detail"]) == (503, "version made-1 is being loaded")
        begun = time.monotonic()
        assert running.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 5
        assert "Traceback" not in running.log


def test_requests_under_way_are_answered_or_told_when_it_ends(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    with serving(
        *(tmp_path, synthetic_bundle.folder),
        script=SLOW_LONGTAIL,
        SLOW_BATCH_S="30",
        LONGTAIL_SHUTDOWN_TIMEOUT_MS="500",
    ) as running:
        batch = {"requests": [{"history": ["i1"]}] * 200}
        answers: list[tuple[int, Any]] = []
        asking = threading.Thread(
            target=lambda: answers.append(running.ask("POST", "/recommend/batch", batch))
        )
        asking.start()
        time.sleep(0.5)
        begun = time.monotonic()
        assert running.end(signal.SIGTERM) == 0
        asking.join()
        assert time.monotonic() - begun < 8
        [(status, document)] = answers
        assert (status, document["detail"]) == (503, "the service is ending")
        assert "Traceback" not in running.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_kill_leaves_nothing(synthetic_bundle: Bundle, tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, synthetic_bundle.folder, "--workers", workers) as running:
        assert running.end(signal.SIGKILL) == -signal.SIGKILL


def test_a_bundle_that_cannot_be_published_ends_the_service(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    for workers in ("1", "2"):
        with started(tmp_path, tmp_path / "nowhere", "--workers", workers) as running:
            assert running.process.wait(20) == 1
            lines = running.log.splitlines()
            assert [line for line in lines if "nowhere" in line] == lines[-1:]
            assert lines[-1].startswith("longtail serve: ")


def test_a_folder_that_cannot_be_written_is_named_at_once(
    synthetic_bundle: Bundle, running: Running, tmp_path: Path
) -> None:
    # A file in its place: nobody, not even root, can write to that folder.
    (tmp_path / "file").touch()
    with started(
        *(tmp_path, synthetic_bundle.folder),
        LONGTAIL_STORE_DIR=str(tmp_path / "file" / "store"),
        LONGTAIL_REDIS_URL=running.store_url(),
    ) as failing:
        assert failing.process.wait(20) == 1
        [line] = failing.log.splitlines()
        assert line.startswith(f"longtail serve: LONGTAIL_STORE_DIR='{tmp_path}/file/store': ")


# As in a container with an arbitrary user id: no temporary folder, no entry in /etc/passwd.
BARE_MACHINE = """
import pwd, tempfile
def find_nothing(*_): raise FileNotFoundError("no usable temporary directory")
def find_nobody(*_): raise KeyError("uid not found")
tempfile._get_default_tempdir = find_nothing
pwd.getpwuid = find_nobody
"""


def test_it_needs_no_folders_but_those_it_was_given(
    synthetic_bundle: Bundle, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BARE_MACHINE)
    variables = {"HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONPATH": str(site)}
    with serving(
        *(tmp_path, synthetic_bundle.folder, "--workers", "2"),
        **variables,
        PYTHONDONTWRITEBYTECODE="1",
        XDG_CACHE_HOME="/nowhere",
    ) as running:
        assert running.ask("POST", "/recommend", {"user_id": "u1"})[0] == 200
        assert running.ask("POST", "/events", {"user_id": "u1", "item_id": "i1"})[0] == 200
    assert "Traceback" not in running.log
    assert " WARNING " not in running.log


@pytest.fixture(scope="module")
def two_workers(
    synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("two")
    with serving(folder, synthetic_bundle.folder, "--workers", "2") as running:
        yield running
    assert "Traceback" not in running.log


def test_two_workers_swap_together_and_count_together(two_workers: Running, tmp_path: Path) -> None:
    running = two_workers

    def metric(line: str) -> float:
        text = running.ask("GET", "/metrics")[1]
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    wait_for(lambda: metric('longtail_model_workers{version="made-1"}') == 2, 20)
    for _ in range(20):
        running.ask("POST", "/recommend", {"user_id": "u1"})
    line = 'longtail_requests_total{route="/recommend",served_by="model",status="200"}'
    assert metric(line) == 20
    second = make_bundle(tmp_path / "two", version="made-2", catalogue=make_catalogue(seed=8))
    with connect(running.store_url()) as client:
        publish(second, Path(running.environment["LONGTAIL_BUNDLES_DIR"]), client)
        assert Registry(client).active() == "made-1"
    assert running.ask("POST", "/admin/models/made-2/activate")[0] == 200
    wait_for(lambda: metric('longtail_model_workers{version="made-2"}') == 2)
    versions = {
        running.ask("POST", "/recommend", {"user_id": "u1"})[1]["model_version"] for _ in range(20)
    }
    assert versions == {"made-2"}


def test_a_killed_worker_is_replaced_and_named(two_workers: Running) -> None:
    killed, other = two_workers.workers()
    killed.kill()
    with Load(two_workers.port, reconnects=True) as load:
        wait_for(lambda: two_workers.workers()[0] == other and len(two_workers.workers()) == 2, 20)
    assert {status for status, _ in load.answers} == {200}
    assert f"worker {killed.pid} ended with exit code -9" in two_workers.log


def test_sighup_replaces_every_worker_without_a_failure(two_workers: Running) -> None:
    before = set(two_workers.workers())
    with Load(two_workers.port, reconnects=True) as load:
        two_workers.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not before & set(two_workers.workers()), 30)
    assert {status for status, _ in load.answers} == {200}
    assert len(two_workers.workers()) == 2
    assert two_workers.log.count("ended with exit code") == two_workers.log.count("code -9")


def test_a_worker_that_is_killed_while_the_active_version_is_damaged_takes_nothing_down(
    two_workers: Running, tmp_path: Path
) -> None:
    bundles = Path(two_workers.environment["LONGTAIL_BUNDLES_DIR"])
    client = connect(two_workers.store_url())
    good = Registry(client).active()
    bad = make_bundle(tmp_path / "bad", version="bad-1", catalogue=make_catalogue(seed=12))
    publish(bad, bundles, client)
    (bundles / "bad-1" / "popularity.npy").write_bytes(b"damaged")
    Registry(client).activate("bad-1")
    wait_for(lambda: two_workers.log.count("bad-1 can't be loaded") == 2)
    two_workers.workers()[0].kill()
    answers = []

    def has_another() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):  # it was with the killed one
            answers.append(two_workers.ask("POST", "/recommend", {"user_id": "u1", "k": 5}))
        return f"going on with version {good}" in two_workers.log

    wait_for(has_another, 60)
    assert {status for status, _ in answers} == {200}
    assert {answer["model_version"] for _, answer in answers} == {good}
    assert two_workers.process.poll() is None
    Registry(client).rollback()
    client.close()
