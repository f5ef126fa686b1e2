"""The reranker's process as `longtail serve` starts, watches and ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app import folders, rerank_supervisor
from app.folders import SOCKET, socket_folder
from app.rerank_supervisor import (
    AT_LOWEST_PRIORITY,
    RerankSupervisor,
    rerank_command,
    rerank_environment,
    reranker_process,
)
from app.reranking.client import RerankClient
from app.reranking.job import Job
from app.reranking.lowest_priority import GROUP
from app.settings import Settings
from model_store.errors import ConfigError
from tests.app.conftest import PATIENCE_S, settings_for, wait_for
from tests.app.reranking.processes import with_client
from tests.app.running import serving
from tests.synthetic_bundle import make_bundle

URL = "redis://nowhere"


def children(path: Path) -> list[psutil.Process]:
    """Processes that listen on this socket, started from here."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended since
            if str(path) in child.cmdline():
                found.append(child)
    return found


def replaced(path: Path, old: psutil.Process) -> psutil.Process:
    """The process in the place of an old one."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = [one for one in children(path) if one != old]
        return found != []

    wait_for(is_there, PATIENCE_S)
    return found[0]


@pytest.fixture
def settings(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # The path of a socket is short.
    return settings_for(URL, tmp_path, store_dir=tmp_path_factory.mktemp("s"))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerank_supervisor, "LOOK_S", 0.02)
    # As patient as it is otherwise: on a busy machine the process gets next to nothing.
    monkeypatch.setattr(rerank_supervisor, "HANG_LOOKS", 3_000)
    monkeypatch.setattr(rerank_supervisor, "START_LOOKS", 15_000)
    monkeypatch.setattr(rerank_supervisor, "FIRST_PAUSE_S", 0.05)


def test_it_answers_while_the_context_lasts_and_leaves_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "v1", version="v1", with_reranker=True)

    async def ask(client: RerankClient) -> None:
        await client.load("v1", bundle.folder)
        assert len((await client.ask(Job("v1", None, (1, 2), (3, 4)))).scores) == 2

    with reranker_process(settings) as given:
        path = given.rerank_socket
        assert path is not None
        assert path.parent.parent == settings.store_dir
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with_client(path, ask)
        [process] = children(path)
    assert not process.is_running()
    assert list(settings.store_dir.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE is Linux's")
def test_it_has_the_lowest_priority_from_its_start_among_the_service_s_processes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own main function would lower the priority, too; here it isn't run."""
    program = [sys.executable, "-c", "import sys; sys.stdin.read()", str(tmp_path)]
    monkeypatch.setattr(rerank_supervisor, "rerank_command", lambda *_: program)
    with reranker_process(settings.model_copy(update={"rerank_priority": "lowest"})):
        wait_for(lambda: children(tmp_path) != [], PATIENCE_S)
        [process] = children(tmp_path)
        wait_for(lambda: os.sched_getscheduler(process.pid) == os.SCHED_IDLE, PATIENCE_S)
        assert os.getsid(process.pid) == os.getsid(0)
        assert os.getpgid(process.pid) == process.pid


@pytest.mark.skipif(not GROUP.exists(), reason="Linux groups processes by session there")
def test_in_a_session_of_its_own_the_session_has_a_low_weight(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = [sys.executable, "-c", "import sys; sys.stdin.read()", str(tmp_path)]
    monkeypatch.setattr(rerank_supervisor, "rerank_command", lambda *_: program)
    ours = GROUP.read_text()
    lowest = settings.model_copy(update={"rerank_priority": "lowest"})
    with reranker_process(lowest, own_session=True):
        wait_for(lambda: children(tmp_path) != [], PATIENCE_S)
        [process] = children(tmp_path)
        wait_for(lambda: os.sched_getscheduler(process.pid) == os.SCHED_IDLE, PATIENCE_S)
        assert os.getsid(process.pid) == process.pid
        assert Path(f"/proc/{process.pid}/autogroup").read_text().endswith(" nice 10\n")
    assert GROUP.read_text() == ours


@pytest.mark.skipif(not GROUP.exists(), reason="Linux groups processes by session there")
def test_a_session_that_others_share_keeps_its_priority() -> None:
    command = [*AT_LOWEST_PRIORITY, "/bin/cat", str(GROUP)]
    assert subprocess.check_output(command, text=True) == GROUP.read_text()


def test_one_that_dies_is_replaced_with_growing_pauses(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with reranker_process(settings) as given:
        path = given.rerank_socket
        assert path is not None
        wait_for(path.exists, PATIENCE_S)
        for _ in range(3):
            [process] = children(path)
            process.kill()
            assert replaced(path, process).pid != process.pid
    lines = [message for message in caplog.messages if "exit code -9" in message]
    assert [line.rpartition("in ")[2] for line in lines] == ["0.1 s", "0.1 s", "0.2 s"]


def test_one_that_hangs_is_killed_and_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with reranker_process(settings) as given:
        path = given.rerank_socket
        assert path is not None
        wait_for(path.exists, PATIENCE_S)
        [process] = children(path)
        monkeypatch.setattr(rerank_supervisor, "HANG_LOOKS", 20)
        monkeypatch.setattr(rerank_supervisor, "START_LOOKS", 20)
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: not process.is_running(), PATIENCE_S)
        monkeypatch.setattr(rerank_supervisor, "START_LOOKS", 15_000)
        replaced(path, process)
    assert [m for m in caplog.messages if f"{process.pid} did not answer for" in m]


def test_one_that_does_not_end_when_asked_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank_supervisor, "END_S", 0.2)
    with reranker_process(settings) as given:
        path = given.rerank_socket
        assert path is not None
        wait_for(path.exists, PATIENCE_S)
        [process] = children(path)
        os.kill(process.pid, signal.SIGSTOP)
    assert not process.is_running()
    assert list(settings.store_dir.iterdir()) == []


def test_one_that_cannot_be_started_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket_folder(settings.store_dir) as folder, monkeypatch.context() as patch:
        patch.setattr(rerank_supervisor, "AT_LOWEST_PRIORITY", ("/nowhere/python",))
        lowest = settings.model_copy(update={"rerank_priority": "lowest"})
        supervisor = RerankSupervisor(lowest, folder / SOCKET)
        supervisor.start()
        wait_for(lambda: len(caplog.messages) == 2)
        patch.undo()
        wait_for((folder / SOCKET).exists, PATIENCE_S)
        supervisor.end()
    assert "could not be started (No such file or directory)" in caplog.messages[0]


def test_off_starts_none(settings: Settings) -> None:
    before = psutil.Process().children()
    with reranker_process(settings.model_copy(update={"rerank": False})) as given:
        assert given.rerank_socket is None
        assert psutil.Process().children() == before
    assert list(settings.store_dir.iterdir()) == []


def test_one_that_something_else_runs_is_used(settings: Settings, tmp_path: Path) -> None:
    before = psutil.Process().children()
    own = settings.model_copy(update={"rerank_socket": tmp_path / "elsewhere"})
    with reranker_process(own) as given:
        assert given.rerank_socket == tmp_path / "elsewhere"
        assert psutil.Process().children() == before


def test_secrets_are_not_in_the_command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_RERANK_URL", "http://old")
    monkeypatch.setenv("LONGTAIL_RERANK_API_KEY", "old-key")
    assert not {"LONGTAIL_RERANK_URL", "LONGTAIL_RERANK_API_KEY"} & set(
        rerank_environment(settings)
    )
    given = Settings(
        rerank_url="http://user:secret@host/v1",  # type: ignore[arg-type]
        rerank_api_key="a-secret-key",  # type: ignore[arg-type]
        rerank_model="model",
    )
    command = rerank_command(given, Path("/folder/socket"))
    assert "secret" not in " ".join(command)
    assert command[-2:] == ["--model", "model"]
    environment = rerank_environment(given)
    assert environment["LONGTAIL_RERANK_URL"] == "http://user:secret@host/v1"
    assert environment["LONGTAIL_RERANK_API_KEY"] == "a-secret-key"


def test_a_long_path_is_replaced_by_a_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, last = tmp_path_factory.mktemp("t"), tmp_path_factory.mktemp("s")
    long = tmp_path_factory.mktemp("x" * 100)
    monkeypatch.setattr(folders, "SHORT_FOLDERS", (last,))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with socket_folder(long) as folder:
        assert folder.parent == temporary
    assert list(temporary.iterdir()) == list(long.iterdir()) == []

    def find_nothing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.gettempdir", find_nothing)
    with socket_folder(long) as folder:
        assert folder.parent == last
    monkeypatch.setattr(folders, "SHORT_FOLDERS", (long,))
    with pytest.raises(ConfigError, match=r"^LONGTAIL_STORE_DIR='.*x0': the path is too long"):
        socket_folder(long).__enter__()


def test_folders_of_killed_services_are_removed_and_others_stay(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parent = tmp_path_factory.mktemp("s")  # the path of a socket is short
    left, other = parent / "longtail-rerank-left", parent / "longtail-rerank-other"
    for folder in (left, other):
        folder.mkdir()
    (left / "lock").touch()  # nobody holds it
    with socket_folder(parent) as held, socket_folder(parent):
        assert held.exists()
        assert not left.exists()
        assert other.exists()


@pytest.mark.slow
def test_the_service_reranks_again_after_its_process_was_killed(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "v1", version="v1", with_reranker=True)

    def outcome(item_id: str) -> str:
        request = {"history": [item_id], "k": 5, "rerank": "always", "deadline_ms": 50}
        status, answer = running.ask("POST", "/recommend", request)
        assert (status, len(answer["items"])) == (200, 5)
        word: str = answer["rerank"]
        return word

    with serving(tmp_path, bundle.folder, "--workers", "2") as running:
        wait_for(lambda: outcome("i1") == "cached", PATIENCE_S)
        [process] = running.rerankers()
        process.kill()
        wait_for(lambda: running.rerankers() not in ([], [process]), PATIENCE_S)
        assert f"the reranker's process {process.pid} ended with exit code -9" in running.log
        wait_for(lambda: outcome("i2") == "cached", PATIENCE_S)
        [process] = running.rerankers()
        assert running.end(signal.SIGTERM) == 0
        assert not process.is_running()
        assert "Traceback" not in running.log
        assert "INFO app.reranking.versions: the reranker has loaded version v1" in running.log
