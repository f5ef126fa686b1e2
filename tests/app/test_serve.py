"""`longtail serve` and `longtail models` as people run them: processes, sockets, signals."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import longtail
from app.settings import PREFIX
from model_store.bundle import Bundle
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import wait_for
from tests.app.running import LONGTAIL, Load, Running, serving
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(
    synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("serve"), synthetic_bundle.folder) as running:
        yield running


def test_the_ready_line_holds_a_call_that_works(running: Running) -> None:
    assert running.ready_line.startswith("Longtail is ready (version made-1, 60 items)")
    curl = shlex.split(running.ready_line.partition("try: ")[2])
    url, body = curl[2], curl[-1]
    assert f"console: http://127.0.0.1:{running.port}/console" in running.ready_line
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
        wait_for(lambda: len(load.answers) > 10)
        status, answer = running.ask("POST", "/admin/models/made-2/activate")
        assert (status, answer["active"], answer["previous"]) == (200, "made-2", "made-1")
        wait_for(lambda: load.answers[-1][1]["model_version"] == "made-2")
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
        wait_for(lambda: running.ask("GET", "/health/ready")[1]["store"] == "up")
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


def test_a_canary_is_followed_and_taken_back_by_commands_alone(
    running: Running, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """As somebody does it who has read the help only."""
    third = make_bundle(tmp_path / "made-3", version="made-3", catalogue=make_catalogue(seed=9))
    with connect(running.store_url()) as client:
        publish(third, Path(running.environment["LONGTAIL_BUNDLES_DIR"]), client)
    ended = "made-3 is no longer the canary"
    for extra in ([], ["--url", f"http://127.0.0.1:{running.port}"]):
        said = command("models", "canary", "made-3", "--percent", "50", *extra)[1]
        assert "made-3 answers 50 % of the users" in said
        assert "`longtail models list` shows how it does" in said
        assert "`longtail models canary made-3 --percent 0` ends it" in said
        running.ask("POST", "/recommend/batch", {"requests": [{"user_id": "u1"}]})
        told = command("models", "list", *extra)[1]
        assert "canary made-3, 50 % of the users: waiting: no answers of the canary yet" in told
        listed = json.loads(command("models", "list", "--json", *extra)[1])
        assert listed["canary"]["verdict"]["word"] == "waiting"
        status, said, _ = command("models", "activate", "made-1", *extra)
        assert (status, "the canary made-3 goes on" in said) == (0, True)
        assert ended in command("models", "canary", "made-3", "--percent", "0", *extra)[1]
        assert json.loads(command("models", "list", "--json", *extra)[1])["canary"] is None


def test_models_on_the_store_and_through_the_service(
    running: Running, command: Callable[..., tuple[int, str, str]]
) -> None:
    url = f"http://127.0.0.1:{running.port}"
    _, table, _ = command("models", "list")
    assert re.search(
        r"^\*\s+made-1\s+active\s+made\s+\d+ MB\s+ndcg_at_10 0.1$", table, re.MULTILINE
    )
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
