"""How jobs that wait are put together, with a back end that notes its calls."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.reranking import rank_server
from app.reranking.backend import BackendConfig, Endpoint
from app.reranking.client import RerankClient
from app.reranking.job import Answer, Job, RerankError, Scores
from app.reranking.prompts import Prompt
from app.reranking.rank_server import CONCURRENT_REQUESTS, RankServer
from app.reranking.version import Version


class NotingBackend:
    """Takes four prompts a call; scores are the candidates' lengths."""

    max_prompts = 4

    def __init__(self, seconds: float = 0.05, fault: BaseException | None = None) -> None:
        self.seconds, self.fault = seconds, fault
        self.calls: list[list[str]] = []
        self.n_running = self.n_running_most = 0

    async def score(self, prompts: Sequence[Prompt]) -> list[Scores | RerankError]:
        self.calls.append([prompt.history[0] for prompt in prompts])
        self.n_running += 1
        self.n_running_most = max(self.n_running, self.n_running_most)
        await asyncio.sleep(self.seconds)
        self.n_running -= 1
        if self.fault is not None:
            raise self.fault
        return [np.array([len(c) for c in p.candidates], np.float32) for p in prompts]

    async def close(self) -> None:
        pass


class TextPrompts:
    """Prompts of numbers, as they are."""

    def make(self, job: Job) -> Prompt:
        texts = tuple(map(str, job.candidates))
        return Prompt((f"{job.version}:{job.history[0]}",), texts, tuple(range(len(texts))))


def with_server(
    backend: NotingBackend,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[RerankClient], Awaitable[None]],
    config: BackendConfig | None = None,
) -> None:
    async def open_version(_version: str, path: Path, *_: object) -> Version:
        return Version(path, TextPrompts(), backend)  # type: ignore[arg-type]

    monkeypatch.setattr(Version, "open", open_version)

    async def run() -> None:
        async with asyncio.timeout(20):
            serving = asyncio.create_task(RankServer(config or BackendConfig()).run(folder / "s"))
            client = RerankClient(folder / "s")
            await client.load("a", folder)
            await client.load("b", folder)
            await use(client)
            await client.close()
            serving.cancel()
            await asyncio.wait([serving])

    asyncio.run(run())


def jobs(version: str, numbers: range) -> list[Job]:
    return [Job(version, None, (number,), (number, 1)) for number in numbers]


def test_jobs_that_wait_are_ranked_together_if_of_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = NotingBackend()

    async def use(client: RerankClient) -> None:
        first = asyncio.create_task(client.ask(Job("a", None, (0,), (5,))))
        while not backend.calls:
            await asyncio.sleep(0.005)
        asked = [*jobs("a", range(1, 4)), *jobs("b", range(4, 6)), *jobs("a", range(6, 9))]
        answers = await asyncio.gather(*(client.ask(job) for job in asked))
        await first
        for job, answer in zip(asked, answers, strict=True):
            assert answer.scores.tolist() == [len(str(item)) for item in job.candidates]

    with_server(backend, tmp_path, monkeypatch, use)
    assert backend.calls == [
        ["a:0"],
        ["a:1", "a:2", "a:3", "a:6"],
        ["b:4", "b:5"],
        ["a:7", "a:8"],
    ]
    assert backend.n_running_most == 1


def test_an_endpoint_has_several_calls_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = NotingBackend()
    backend.max_prompts = 1

    async def use(client: RerankClient) -> None:
        await asyncio.gather(*(client.ask(job) for job in jobs("a", range(20))))

    config = BackendConfig(endpoint=Endpoint("http://nowhere"))
    with_server(backend, tmp_path, monkeypatch, use, config)
    assert backend.n_running_most == CONCURRENT_REQUESTS


def test_jobs_of_workers_that_ended_are_not_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = NotingBackend(seconds=0.2)

    async def use(client: RerankClient) -> None:
        gone = RerankClient(tmp_path / "s")
        await gone.load("a", tmp_path)
        asked = asyncio.gather(
            *(gone.ask(job) for job in jobs("a", range(10, 16))), return_exceptions=True
        )
        while not backend.calls:
            await asyncio.sleep(0.005)
        await gone.close()
        assert {type(one) for one in await asked} == {RerankError}
        assert isinstance(await client.ask(Job("a", None, (1,), (1,))), Answer)

    with_server(backend, tmp_path, monkeypatch, use)
    ranked = [name for call in backend.calls for name in call]
    assert ranked[-1] == "a:1"
    assert not {"a:14", "a:15"} & set(ranked)


@pytest.mark.parametrize("fault", [RerankError("it is full"), ValueError("what?")])
def test_a_call_that_fails_is_the_answer_to_its_jobs_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    backend = NotingBackend(fault=fault)
    caplog.set_level(logging.ERROR)

    async def use(client: RerankClient) -> None:
        with pytest.raises(RerankError, match=r"^(it is full|ValueError in a rank)$"):
            await client.ask(Job("a", None, (1,), (1,)))
        backend.fault = None
        assert isinstance(await client.ask(Job("a", None, (1,), (1,))), Answer)

    with_server(backend, tmp_path, monkeypatch, use)
    assert len(caplog.records) == isinstance(fault, ValueError)


def test_a_computation_that_never_ends_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(rank_server, "MAX_RANK_S", 0.1)
    monkeypatch.setattr(rank_server.signal, "raise_signal", signals.append)

    async def use(client: RerankClient) -> None:
        asking = asyncio.create_task(client.ask(Job("a", None, (1,), (1,))))
        while not signals:
            await asyncio.sleep(0.01)
        asking.cancel()

    with_server(NotingBackend(seconds=60), tmp_path, monkeypatch, use)
    assert signals == [signal.SIGTERM]
    assert caplog.messages[-1] == "1 jobs took more than 0 s; the process ends"
