"""The reranker's process, as a real one over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket as sockets
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from app.reranking import client as client_module
from app.reranking.client import RerankClient
from app.reranking.job import Answer, Job, RerankError
from app.reranking.messages import MAX_LINE_BYTES
from app.reranking.rank_server import MAX_WAITING
from model_store.bundle import Bundle
from model_store.forgotten import digest_of_user
from tests.app.conftest import PATIENCE_S, wait_for
from tests.app.reranking.processes import ROOT, rerank_process, with_client
from tests.synthetic_reranker import expected_label_scores


def job_of(bundle: Bundle, *candidates: int, user_id: str | None = None) -> Job:
    return Job(bundle.version, user_id, (1, 2, 3), candidates)


def expected(bundle: Bundle, job: Job) -> list[float]:
    titles = bundle.attributes.get("title")
    assert titles is not None
    return expected_label_scores([str(titles.value_of(item)) for item in job.candidates])


def test_it_scores_candidates_in_the_recommenders_order(
    socket: Path, rerank_bundle: Bundle
) -> None:
    jobs = [job_of(rerank_bundle, *range(n, n + 5)) for n in range(4, 30, 5)]

    async def ask(client: RerankClient) -> list[Answer]:
        await client.load(rerank_bundle.version, rerank_bundle.folder)
        return [await client.ask(job) for job in jobs]

    for job, answer in zip(jobs, with_client(socket, ask), strict=True):
        assert answer.scores.tolist() == expected(rerank_bundle, job)
        assert answer.scores.dtype == np.float32
        assert answer.similar_user in rerank_bundle.histories().user_ids


def test_a_forgotten_user_stands_in_no_prompt_whoever_asks(
    socket: Path, rerank_bundle: Bundle
) -> None:
    job = job_of(rerank_bundle, 5, 6, 7)

    async def ask(first: RerankClient) -> list[str | None]:
        other = RerankClient(socket)
        for client in (first, other):
            await client.load(rerank_bundle.version, rerank_bundle.folder)
        found = [(await first.ask(job)).similar_user]
        assert found[0] is not None
        first.forget({digest_of_user(found[0])})
        found += [(await client.ask(job)).similar_user for client in (first, other)]
        await other.close()
        return found

    before, *after = with_client(socket, ask)
    assert after[0] == after[1]
    assert after[0] not in (before, None)


def test_workers_that_ask_at_once_get_their_own_answers(
    socket: Path, rerank_bundle: Bundle
) -> None:
    jobs = [job_of(rerank_bundle, *range(n, n + 6)) for n in range(1, 41)]

    async def ask(first: RerankClient) -> list[list[Answer]]:
        clients = [first, RerankClient(socket), RerankClient(socket)]
        version, folder = rerank_bundle.version, rerank_bundle.folder
        await asyncio.gather(*(client.load(version, folder) for client in clients))
        found = await asyncio.gather(
            *(
                asyncio.gather(*(client.ask(job) for job in jobs[number::3]))
                for number, client in enumerate(clients)
            )
        )
        await asyncio.gather(*(client.close() for client in clients[1:]))
        return found

    for number, answers in enumerate(with_client(socket, ask)):
        for job, answer in zip(jobs[number::3], answers, strict=True):
            assert answer.scores.tolist() == expected(rerank_bundle, job)


@pytest.mark.parametrize(
    ("candidates", "reason"),
    [
        ((), "0 candidates, expected 1 to 6"),
        ((1, 2, 3, 4, 5, 6, 7), "7 candidates, expected 1 to 6"),
        ((1, 61), "candidate 61 is not an item of rerank-1's bundle"),
        ((0, 1), "candidate 0 is not an item of rerank-1's bundle"),
    ],
)
def test_a_job_that_cannot_be_ranked_has_its_reason_and_affects_no_other(
    socket: Path, rerank_bundle: Bundle, candidates: tuple[int, ...], reason: str
) -> None:
    bad, good = job_of(rerank_bundle, *candidates), job_of(rerank_bundle, 4, 5)

    async def ask(client: RerankClient) -> list[Answer | BaseException]:
        await client.load(rerank_bundle.version, rerank_bundle.folder)
        return await asyncio.gather(client.ask(bad), client.ask(good), return_exceptions=True)

    failed, answered = with_client(socket, ask)
    assert isinstance(failed, RerankError)
    assert str(failed) == reason
    assert isinstance(answered, Answer)
    assert answered.scores.tolist() == expected(rerank_bundle, good)


def copy_as(bundle: Bundle, folder: Path, version: str) -> Path:
    """The bundle under another version."""
    shutil.copytree(bundle.folder, folder / version)
    manifest = folder / version / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version}))
    return folder / version


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("no reranker", "version synthetic-2 has no reranker"),
        ("no graph", "LONGTAIL_RERANK_URL is unset"),
        ("tokenizer", "reranker_tokenizer.json: not a tokenizer"),
        ("graph", "reranker.onnx: not a usable graph"),
        ("version", "holds version synthetic-3, not synthetic-2"),
        ("folder", "no bundle here"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_named(
    socket: Path, rerank_bundle: Bundle, tmp_path: Path, damage: str, reason: str
) -> None:
    folder = copy_as(rerank_bundle, tmp_path, "synthetic-2")
    manifest = json.loads((folder / "manifest.json").read_text())
    match damage:
        case "no reranker":
            manifest["reranker"] = None
            for name in ("reranker.onnx", "reranker_tokenizer.json", "user_vectors.npy"):
                del manifest["files"][name]
        case "no graph":
            manifest["reranker"]["graph"] = None
            del manifest["files"]["reranker.onnx"], manifest["files"]["reranker_tokenizer.json"]
        case "version":
            manifest["version"] = "synthetic-3"
        case "folder":
            shutil.rmtree(folder)
        case _:
            name = {"tokenizer": "reranker_tokenizer.json", "graph": "reranker.onnx"}[damage]
            size = (folder / name).stat().st_size
            (folder / name).write_bytes(b"{" * size)
    if folder.is_dir():
        (folder / "manifest.json").write_text(json.dumps(manifest))

    async def load(client: RerankClient) -> None:
        with pytest.raises(RerankError) as caught:
            await client.load("synthetic-2", folder)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not client.is_ready("synthetic-2")

    with_client(socket, load)


def test_it_keeps_the_two_versions_that_were_used_last(
    socket: Path, rerank_bundle: Bundle, tmp_path: Path
) -> None:
    versions = ["v1", "v2", "v3"]
    folders = {name: copy_as(rerank_bundle, tmp_path, name) for name in versions}

    async def ask(client: RerankClient) -> None:
        for version, folder in folders.items():
            await client.load(version, folder)
        assert [client.is_ready(version) for version in versions] == [False, True, True]
        for version in versions[1:]:
            await client.ask(Job(version, None, (1,), (4, 5)))
        # Another worker's versions displace this one's, which are loaded again when they are asked.
        other = RerankClient(socket)
        await other.load("v1", folders["v1"])
        with pytest.raises(RerankError, match="version v2 is not loaded"):
            await client.ask(Job("v2", None, (1,), (4, 5)))
        while not client.is_ready("v2"):
            await asyncio.sleep(0.01)
        assert len((await client.ask(Job("v2", None, (1,), (4, 5)))).scores) == 2
        await other.close()

    with_client(socket, ask)


class Raw:
    """A connection that sends whatever it is told."""

    def __init__(self, path: Path) -> None:
        self.socket = sockets.socket(sockets.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        wait_for(lambda: self.socket.connect_ex(str(path)) == 0, PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def ask(self, *documents: object) -> list[Any]:
        self.socket.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in documents))
        return [json.loads(self.file.readline()) for _ in documents]


GARBAGE = {
    "no JSON": b"hello\n",
    "no object": b"[1, 2]\n",
    "no id": b'{"version": "v"}\n',
    "an id of text": b'{"id": "1", "ping": true}\n',
    "an id that is true": b'{"id": true, "ping": true}\n',
    "no request": b'{"id": 1, "what": 2}\n',
    "text for items": b'{"id": 1, "version": "v", "user_id": null, "history": "12",'
    b' "candidates": [1]}\n',
    "fractions for items": b'{"id": 1, "version": "v", "user_id": null, "history": [1.5],'
    b' "candidates": [1]}\n',
    "negative items": b'{"id": 1, "version": "v", "user_id": null, "history": [-1],'
    b' "candidates": [1]}\n',
    "no folder": b'{"id": 1, "load": {"version": "v", "bundle": 5}}\n',
    "deeply nested": b"[" * 5000 + b"\n",
    "not UTF-8": b'{"id": 1, "ping": "\xff"}\n',
    "too long": b'{"id": 1, "ping": "' + b"x" * MAX_LINE_BYTES + b'"}\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_worker_that_sends_garbage_is_cut_off_and_no_other(socket: Path, garbage: bytes) -> None:
    other = Raw(socket)
    assert other.ask({"id": 1, "ping": True}) == [{"id": 1, "alive": True}]
    raw = Raw(socket)
    raw.socket.sendall(garbage)
    with contextlib.suppress(ConnectionResetError):
        assert raw.file.readline() == b""
    assert other.ask({"id": 2, "ping": True}) == [{"id": 2, "alive": True}]


def test_jobs_beyond_the_bound_are_answered_with_an_error_at_once(
    rerank_bundle: Bundle, tmp_path: Path
) -> None:
    with rerank_process(tmp_path / "socket"):
        raw = Raw(tmp_path / "socket")
        bundle = {"version": rerank_bundle.version, "bundle": str(rerank_bundle.folder)}
        assert raw.ask({"id": 0, "load": bundle}) == [{"id": 0, "ready": True}]
        document = {"version": "rerank-1", "user_id": None, "history": [1], "candidates": [4, 5]}
        n_jobs = 20 * MAX_WAITING
        replies = raw.ask(*({"id": n, **document} for n in range(n_jobs)))
    errors = {reply["error"] for reply in replies if "error" in reply}
    assert errors == {f"{MAX_WAITING} jobs wait already"}
    answered = [reply for reply in replies if "scores" in reply]
    assert len(answered) >= MAX_WAITING
    assert sorted(reply["id"] for reply in replies) == list(range(n_jobs))


def test_a_killed_process_that_is_started_again_answers_again(
    rerank_bundle: Bundle, tmp_path: Path
) -> None:
    path, job = tmp_path / "socket", job_of(rerank_bundle, 4, 5)

    async def ask(client: RerankClient) -> None:
        with rerank_process(path) as process:
            await client.load(rerank_bundle.version, rerank_bundle.folder)
            process.send_signal(signal.SIGSTOP)
            waiting = asyncio.create_task(client.ask(job))
            await asyncio.sleep(0.05)
            process.kill()
            with pytest.raises(RerankError, match="the reranker's process ended"):
                await waiting
            with pytest.raises(RerankError, match="can't be reached"):
                await client.ask(job)
            assert not client.is_ready(rerank_bundle.version)
        with rerank_process(path):
            while not client.is_ready(rerank_bundle.version):
                await asyncio.sleep(0.01)
            answer = await client.ask(job)
        assert answer.scores.tolist() == expected(rerank_bundle, job)

    with_client(path, ask)


async def ask_until_answered(client: RerankClient, job: Job) -> Answer:
    while True:
        try:
            return await client.ask(job)
        except RerankError:
            await asyncio.sleep(0.01)


def test_a_stopped_process_neither_holds_the_loop_nor_memory(
    rerank_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_UNREAD_BYTES", 100_000)
    job = Job(rerank_bundle.version, None, tuple([7] * 5_000), (4, 5))

    async def ask(client: RerankClient) -> None:
        with rerank_process(tmp_path / "socket") as process:
            await client.load(rerank_bundle.version, rerank_bundle.folder)
            process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            tasks = [asyncio.create_task(client.ask(job)) for _ in range(200)]
            done, waiting = await asyncio.wait(tasks, timeout=0.5)
            assert time.monotonic() - begun < 2
            assert {str(task.exception()) for task in done} == {
                "the reranker's process reads nothing"
            }
            assert waiting
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            process.send_signal(signal.SIGCONT)
            # The late answers to cancelled jobs do no harm.
            assert len((await ask_until_answered(client, job)).scores) == 2

    with_client(tmp_path / "socket", ask)


@pytest.mark.skipif(sys.platform != "linux", reason="the scheduling class of Linux")
def test_it_has_the_lowest_priority_and_holds_nothing_heavy(
    tmp_path: Path, rerank_bundle: Bundle
) -> None:
    path = tmp_path / "socket"
    with rerank_process(path, "--priority", "lowest") as started:
        with_client(path, lambda c: c.load(rerank_bundle.version, rerank_bundle.folder))
        process = psutil.Process(started.pid)
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
        for thread in process.threads():
            assert os.sched_getscheduler(thread.id) == os.SCHED_IDLE
        assert not [one.path for one in process.memory_maps() if "torch" in one.path]


def test_its_socket_is_for_its_user_alone(socket: Path) -> None:
    Raw(socket)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600


def test_starting_it_loads_neither_runtime_nor_numpy_users() -> None:
    """It runs next to every service, also where no version has a reranker."""
    script = (
        "import sys, app.reranking.process, app.reranking.rank_server\n"
        "heavy = {'torch', 'onnxruntime', 'tokenizers', 'pydantic', 'httpx', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sigterm_ends_it_and_removes_the_socket(tmp_path: Path) -> None:
    with rerank_process(tmp_path / "socket") as process:
        Raw(tmp_path / "socket")
        process.send_signal(signal.SIGINT)  # Ctrl-C is the service's to handle
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert not (tmp_path / "socket").exists()


def test_as_a_child_it_ends_with_its_parent(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with rerank_process(folder / "socket", "--as-child", str(folder)) as process:
        Raw(folder / "socket")
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
    assert not folder.exists()
