"""The client against processes that lie, break off or say nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from app.reranking import client as client_module
from app.reranking.client import MAX_UNREAD_BYTES, RerankClient
from app.reranking.job import Answer, Job, RerankError
from app.reranking.messages import MAX_LINE_BYTES
from model_store.forgotten import digest_of_user
from tests.app.loop_watch import MAX_HELD_S, shortest_held, watched_loops

JOB = Job("v", None, (1,), (4, 5))
GOOD = {"scores": [0.5, 1], "similar_user": "u", "ms": 1.0}
# Bytes are sent as they are; a document gets the request's id.
Reply = bytes | dict[str, object]
# What a process of the release before people could be forgotten looks for in a request. It ignores
# anything else in one, and ends the connection at a request without any of them.
EARLIER = {"ping", "load", "candidates"}


class FakeProcess:
    """Loads any version, and answers jobs with the next of some replies; None: not at all."""

    def __init__(self, replies: list[Reply | None], loads: list[Reply] | None = None) -> None:
        self.replies, self.loads = replies, loads or []
        self.n_connections = 0
        self.ids: list[int] = []
        self.lines: list[str] = []
        self.forgotten: set[str] = set()
        self.is_earlier = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        while line := await reader.readline():
            request = json.loads(line)
            kind = "forgotten" if "forgotten" in request else next(iter(request.keys() - {"id"}))
            self.lines.append(kind)
            reply: Reply
            if self.is_earlier and not EARLIER & request.keys():
                break
            if "ping" in request:
                self.forgotten.update(() if self.is_earlier else request["forgotten"])
                reply = {"alive": True}
            elif "load" in request:
                reply = self.loads.pop(0) if self.loads else {"ready": True}
            else:
                self.ids.append(request["id"])
                found = self.replies.pop(0) if self.replies else GOOD
                if found is None:
                    continue
                reply = found
            if isinstance(reply, dict):
                reply = json.dumps({"id": request["id"], **reply}).encode() + b"\n"
            writer.write(reply)
        writer.close()


def with_fake(
    fake: FakeProcess,
    folder: Path,
    use: Callable[[RerankClient], Awaitable[None]],
    *,
    loads: bool = True,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            server = await asyncio.start_unix_server(
                fake.serve, folder / "socket", limit=MAX_LINE_BYTES
            )
            client = RerankClient(folder / "socket")
            if loads:
                await client.load("v", folder)
            try:
                await use(client)
            finally:
                await client.close()
                server.close()

    asyncio.run(run())


async def until_ready(client: RerankClient) -> None:
    while not client.is_ready("v"):
        await asyncio.sleep(0.01)


LIES: dict[str, Reply] = {
    "not JSON": b"<html>busy</html>\n",
    "half a document": b'{"id": 2, "sco\n',
    "no id": b'{"scores": [1, 2]}\n',
    "another id": b'{"id": 77, "scores": [1, 2], "similar_user": null}\n',
    "an id of text": {"id": "2"},
    "a list": b"[]\n",
    "not UTF-8": b'{"id": 2, "error": "\xff"}\n',
    "too long": b"x" * (MAX_LINE_BYTES + 10) + b"\n",
    "too long without an end": b"x" * (MAX_LINE_BYTES + 10),
    "a reply twice": b'{"id": 2, "scores": [1, 2], "similar_user": null}\n' * 2,
    "no scores": {"similar_user": None},
    "too few scores": {"scores": [1.0], "similar_user": None},
    "too many scores": {"scores": [1.0, 2.0, 3.0], "similar_user": None},
    "scores of text": {"scores": ["1", "2"], "similar_user": None},
    "scores of truth": {"scores": [True, False], "similar_user": None},
    "missing scores": {"scores": [None, 1.0], "similar_user": None},
    "scores out of range": {"scores": [1e300, 1.0], "similar_user": None},
    "scores that are a text": {"scores": "12", "similar_user": None},
    "a user of digits": {"scores": [1.0, 2.0], "similar_user": 5},
    "an error that is none": {"error": 5},
    "an error of many lines": {"error": "x\n" * 10_000},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_an_error_and_ends_the_connection(lie: Reply, tmp_path: Path) -> None:
    fake = FakeProcess([lie])

    async def use(client: RerankClient) -> None:
        if lie == LIES["a reply twice"]:
            await client.ask(JOB)
        else:
            with pytest.raises(RerankError) as caught:
                await client.ask(JOB)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400
        if lie != LIES["an error of many lines"]:
            while fake.n_connections < 2:
                await asyncio.sleep(0.01)
        await until_ready(client)
        assert (await client.ask(JOB)).scores.tolist() == [0.5, 1]

    with_fake(fake, tmp_path, use)


def test_an_error_of_one_job_is_no_reason_to_connect_again(tmp_path: Path) -> None:
    fake = FakeProcess([{"error": "too long"}])

    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError, match=r"^too long$"):
            await client.ask(JOB)
        assert isinstance(await client.ask(JOB), Answer)

    with_fake(fake, tmp_path, use)
    assert fake.n_connections == 1


def test_a_process_learns_of_forgotten_users_before_it_is_asked_anything(tmp_path: Path) -> None:
    fake = FakeProcess([GOOD, b"garbage\n"])
    # More than the process may leave unread of what it is told at once.
    many = {number.to_bytes(16) for number in range(MAX_UNREAD_BYTES // 30)}
    every = {digest.hex() for digest in (*many, digest_of_user("u"))}

    async def use(client: RerankClient) -> None:
        client.forget(many)
        await client.load("v", tmp_path)
        assert fake.lines[-2:] == ["forgotten", "load"]
        assert (await client.ask(JOB)).similar_user == "u"
        client.forget({digest_of_user("u")})
        with pytest.raises(RerankError):
            await client.ask(JOB)
        assert fake.forgotten == every
        fake.forgotten.clear()
        fake.lines.clear()
        await until_ready(client)
        assert fake.lines[-2:] == ["forgotten", "load"]
        assert fake.forgotten == every
        # Of a prompt that was made before.
        answer = await client.ask(JOB)
        assert (answer.scores.tolist(), answer.similar_user) == ([0.5, 1], None)

    with_fake(fake, tmp_path, use, loads=False)


def test_a_process_of_an_earlier_release_answers_though_people_were_forgotten(
    tmp_path: Path,
) -> None:
    fake = FakeProcess([])
    fake.is_earlier = True

    async def use(client: RerankClient) -> None:
        client.forget({digest_of_user("w")})
        await client.load("v", tmp_path)
        client.forget({digest_of_user("u")})
        assert (await client.ask(JOB)).similar_user is None

    with_fake(fake, tmp_path, use, loads=False)
    assert fake.n_connections == 1
    assert fake.lines.count("forgotten") == 2


def test_jobs_that_wait_end_with_the_connection(tmp_path: Path) -> None:
    fake = FakeProcess([None, None, b"garbage\n"])

    async def use(client: RerankClient) -> None:
        found = await asyncio.gather(*(client.ask(JOB) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [RerankError] * 3

    with_fake(fake, tmp_path, use)


def test_an_answer_to_a_job_that_was_given_up_is_ignored(tmp_path: Path) -> None:
    fake = FakeProcess([None])

    async def use(client: RerankClient) -> None:
        task = asyncio.create_task(client.ask(JOB))
        while not fake.ids:
            await asyncio.sleep(0.01)
        task.cancel()
        # The late answer comes together with the one of the next job.
        late = json.dumps({"id": fake.ids[0], **GOOD}).encode() + b"\n"
        own = json.dumps({"id": fake.ids[0] + 1, **GOOD}).encode() + b"\n"
        fake.replies.append(late + own)
        assert isinstance(await client.ask(JOB), Answer)

    with_fake(fake, tmp_path, use)
    assert fake.n_connections == 1


def test_a_load_that_fails_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    fake = FakeProcess([], loads=[{"error": "no such folder"}, {"ready": 1}, {"what": 1}])

    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError, match=r"^no such folder$"):
            await client.load("v", tmp_path)
        assert not client.is_ready("v")
        # Malformed replies end the connection; the next one loads it.
        await client.load("v", tmp_path)
        assert client.is_ready("v")

    with_fake(fake, tmp_path, use, loads=False)
    assert fake.n_connections == 3


def test_a_version_that_the_next_process_cannot_load_at_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RELOAD_PAUSE_S", 0.05)
    loads: list[Reply] = [{"ready": True}, {"error": "no memory"}, {"error": "no memory"}]
    fake = FakeProcess([b"garbage\n"], loads=loads)

    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError):
            await client.ask(JOB)
        await until_ready(client)
        assert loads == []

    with_fake(fake, tmp_path, use)


def test_nothing_is_asked_before_a_version_is_ready(tmp_path: Path) -> None:
    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError, match="can't be reached"):
            await client.ask(JOB)
        await client.load("w", tmp_path)
        with pytest.raises(RerankError, match=r"has not loaded version v$"):
            await client.ask(JOB)

    fake = FakeProcess([])
    with_fake(fake, tmp_path, use, loads=False)
    assert fake.ids == []


def test_a_load_waits_for_the_process_and_ends_with_the_client(tmp_path: Path) -> None:
    async def run() -> None:
        client = RerankClient(tmp_path / "socket")
        waiting = asyncio.create_task(client.load("v", tmp_path))
        given_up = asyncio.create_task(client.load("v", tmp_path))
        await asyncio.sleep(0.2)
        given_up.cancel()
        assert not waiting.done()
        await client.close()
        with pytest.raises(RerankError, match="the service is ending"):
            await waiting

    asyncio.run(run())


def test_pauses_between_connections_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE_S", 0.05)
    moments: list[float] = []

    async def drop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        moments.append(time.monotonic())
        writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(drop, tmp_path / "socket")
        client = RerankClient(tmp_path / "socket")
        loading = asyncio.create_task(client.load("v", tmp_path))
        while len(moments) < 5:
            await asyncio.sleep(0.01)
        loading.cancel()
        await client.close()
        server.close()

    asyncio.run(run())
    pauses = [after - before for before, after in pairwise(moments)]
    assert [pause >= 0.05 * 2**n for n, pause in enumerate(pauses)] == [True] * 4


def test_the_loop_is_never_held(tmp_path: Path) -> None:
    big: Reply = b'{"id": 2, "error": "' + b"x" * (MAX_LINE_BYTES - 100) + b'"}\n'
    job = Job("v", None, tuple(range(10_000)), (4, 5))

    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError):
            await client.ask(job)
        for _ in range(20):
            await client.ask(job)

    with watched_loops() as held:
        seconds, callback = shortest_held(
            held, lambda: with_fake(FakeProcess([big]), tmp_path, use)
        )
    assert seconds < MAX_HELD_S, callback
