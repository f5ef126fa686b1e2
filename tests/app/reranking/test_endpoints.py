"""The back ends behind HTTP, against servers that answer as they should."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from app.reranking import rank_server
from app.reranking.client import RerankClient
from app.reranking.job import Answer, Job, RerankError, Scores
from model_store.bundle import Bundle
from tests.app.reranking.endpoint import Asked, Pieces, Server, read, response, serving
from tests.app.reranking.endpoint_backends import (
    INFO,
    KEY,
    LAYOUT,
    PROMPT,
    chat_top,
    completions,
    listed,
    rerank,
    score,
    top,
)
from tests.app.reranking.processes import rerank_process, with_client


def test_a_completion_is_asked_for_one_token_with_its_alternatives() -> None:
    with serving(lambda _: response(top(**{" A": -1.0, " B": -2.0, " C": -3.0}))) as server:
        [found] = score(completions(server))
    # Labels A, B, C stand for the third, the first and the second candidate.
    assert listed(found) == [-2.0, -3.0, -1.0]
    [asked] = server.asked
    assert asked.path == "/v1/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "m",
        "prompt": PROMPT.listwise(LAYOUT),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 20,
    }


def test_logprobs_may_have_the_form_of_chat_completions() -> None:
    with serving(lambda _: response(chat_top(**{" A": -1.0, " B": -2, "C": -3.0}))) as server:
        [found] = score(completions(server))
    assert listed(found) == [-2.0, -3.0, -1.0]


def test_a_label_that_is_not_among_the_most_probable_tokens_gets_the_least_of_them() -> None:
    answer = top(**{" B": -0.5, " the": -4.0, "B": -9.0, " b": -2.0})
    with serving(lambda _: response(answer)) as server:
        [found] = score(completions(server))
    # B was said with a blank and without: the more probable one counts.
    assert listed(found) == [-0.5, -9.0, -9.0]


def test_the_bias_of_labels_is_taken_off() -> None:
    info = INFO.model_copy(update={"label_bias": (1.0, 0.5, 0.25, 0.0)})
    with serving(lambda _: response(top(**{" A": -1.0, " B": -2.0, " C": -3.0}))) as server:
        [found] = score(completions(server, info))
    assert listed(found) == [-2.5, -3.25, -2.0]


def test_pointwise_asks_once_for_each_candidate() -> None:
    def answer(asked: Asked) -> Pieces:
        best = {"First": "2", "Second": "5", "Third": "1"}[
            asked.body["prompt"].splitlines()[-2].removeprefix("Candidate: ")
        ]
        low = math.log(0.025)
        return response(
            top(**{f" {n}": math.log(0.9) if f"{n}" == best else low for n in range(1, 6)})
        )

    info = INFO.model_copy(update={"mode": "pointwise"})
    with serving(answer) as server:
        [found] = score(completions(server, info))
    assert [round(one, 3) for one in listed(found)] == [2.125, 4.75, 1.25]
    assert len(server.asked) == 3


def test_a_server_that_gives_fewer_alternatives_is_asked_for_fewer_from_then_on() -> None:
    def answer(asked: Asked) -> Pieces:
        if asked.body["logprobs"] > 5:
            return response({"error": {"message": "logprobs must be at most 5"}}, 400)
        return response(top(**{" A": -1.0, " B": -2.0}))

    with serving(answer) as server:
        found = score(completions(server), PROMPT, PROMPT)
    assert [listed(one) for one in found] == [[-2.0, -2.0, -1.0]] * 2
    assert [asked.body["logprobs"] for asked in server.asked] == [20, 5, 5]


def test_a_rerank_call_has_titles_as_query_and_documents() -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]
    results.append({"index": 2, "relevance_score": -1})
    with serving(lambda _: response({"results": results})) as server:
        [found] = score(rerank(server))
    assert [round(one, 4) for one in listed(found)] == [0.9, -1, 0.2]
    [asked] = server.asked
    assert asked.path == "/v1/rerank"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "m",
        "query": "Old 1; New",
        "documents": ["Third", "First", "Second"],
        "top_n": 3,
    }


def test_without_model_and_key_neither_is_sent() -> None:
    with serving(lambda _: response({"results": []})) as server:
        score(rerank(server, key=None, model=None))
        score(completions(server, key=None, model=None))
    assert not [asked for asked in server.asked if "authorization" in asked.headers]
    assert not [asked for asked in server.asked if "model" in asked.body]


def test_a_connection_that_the_server_closes_is_opened_anew() -> None:
    """As servers do with one that was idle for some seconds, at any moment."""
    sound = b"".join(response(top(**{" A": -1.0, " B": -2.0, " C": -3.0})))  # type: ignore[arg-type]
    n_connections = 0

    def serve(listener: socket.socket) -> None:
        nonlocal n_connections
        for n_answers in (1, 2):
            connection, _ = listener.accept()
            n_connections += 1
            with connection, connection.makefile("rb") as file:
                for _ in range(n_answers):
                    read(file)
                    connection.sendall(sound)
                if n_answers == 1:
                    read(file)  # and no answer

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        backend = completions(Server(listener.getsockname()[1]), timeout_s=5.0)

        async def ask() -> list[Scores | RerankError]:
            found = [(await backend.score([PROMPT]))[0] for _ in range(3)]
            await backend.close()
            return found

        found = asyncio.run(ask())
    assert [listed(one) for one in found] == [[-2.0, -3.0, -1.0]] * 3
    assert n_connections == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "/v1/completions"),
        ("/", "/v1/completions"),
        ("/v1\n", "/v1/completions"),
        ("/openai/v1/", "/openai/v1/completions"),
        ("/v2", "/v2/completions"),
        ("/v1/completions", "/v1/completions"),
        ("/deployed", "/deployed/v1/completions"),
        ("/deployed", "/deployed/completions"),
        ("/v1?api-version=3", "/v1/completions?api-version=3"),
        ("/moved", "/elsewhere/completions"),
    ],
)
def test_a_url_may_name_the_server_or_the_whole_address(given: str, expected: str) -> None:
    def answer(asked: Asked) -> Pieces:
        if asked.path == expected:
            return response(top(**{" A": -1.0, " B": -2.0, " C": -3.0}))
        if given == "/moved":
            return response({}, 308, headers="Location: /elsewhere/completions\r\n")
        return response({"detail": "Not Found"}, 404)

    with serving(answer) as server:
        found = score(completions(server, url=f"{server.url}{given}"), PROMPT, PROMPT)
    assert [listed(one) for one in found] == [[-2.0, -3.0, -1.0]] * 2
    # Where it is is found out once.
    assert [asked.path for asked in server.asked][-2:] == [expected] * 2
    assert len(server.asked) <= 3


@pytest.mark.parametrize("key", [f"{KEY}\n", f" '{KEY}'\r\n", f"Bearer {KEY}"])
def test_a_key_is_sent_without_what_stands_around_it(key: str) -> None:
    with serving(lambda _: response({"results": []})) as server:
        score(rerank(server, key=key))
    [asked] = server.asked
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_a_redirect_to_another_server_is_named_and_not_followed() -> None:
    away = "Location: http://127.0.0.1:1/v1/completions\r\n"
    with serving(lambda _: response({}, 307, headers=away)) as server:
        [found] = score(completions(server))
    assert "status 307" in str(found)
    assert "it points to http://127.0.0.1:1/v1/completions" in str(found)


def write_without_graph(bundle: Bundle, folder: Path) -> Path:
    """The bundle, its language model behind an endpoint."""
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["reranker"]["graph"] = None
    for name in ("reranker.onnx", "reranker_tokenizer.json"):
        del manifest["files"][name]
        (folder / name).unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


ANSWER_S = 0.2


@pytest.mark.parametrize("api", ["completions", "rerank"])
def test_the_process_asks_an_endpoint_several_jobs_at_a_time(
    rerank_bundle: Bundle, tmp_path: Path, api: str
) -> None:
    begun: list[float] = []

    def answer(asked: Asked) -> Pieces:
        begun.append(time.monotonic())
        if api == "completions":
            lines = asked.body["prompt"].splitlines()
            shown = [line for line in lines if line[1:3] == ". "]
            document = top(**{f" {line[0]}": -float(line.split()[2]) for line in shown})
        else:
            documents = asked.body["documents"]
            scores = [-float(title.split()[1]) for title in documents]
            results = [{"index": n, "relevance_score": s} for n, s in enumerate(scores)]
            document = {"results": results}
        return [ANSWER_S, *response(document)]

    folder = write_without_graph(rerank_bundle, tmp_path / "b")
    jobs = [Job("rerank-1", None, (1, 2), (n + 1, n, n + 2)) for n in range(10, 26)]

    async def ask(client: RerankClient) -> list[Answer]:
        await client.load("rerank-1", folder)
        return list(await asyncio.gather(*(client.ask(job) for job in jobs)))

    with (
        serving(answer) as server,
        rerank_process(
            *(tmp_path / "socket", "--api", api, "--model", "m"),
            LONGTAIL_RERANK_URL=server.url,
            LONGTAIL_RERANK_API_KEY=KEY,
        ),
    ):
        answers = with_client(tmp_path / "socket", ask)
    # The number in a synthetic title is the item's index.
    for job, found in zip(jobs, answers, strict=True):
        assert found.scores.tolist() == [-item for item in job.candidates]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    at_a_time = max(sum(one <= other < one + ANSWER_S for other in begun) for one in begun)
    assert 1 < at_a_time <= rank_server.CONCURRENT_REQUESTS == 8
