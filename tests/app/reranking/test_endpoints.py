"""The back ends behind HTTP, against servers that answer well, badly, late or never."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.reranking import rank_server
from app.reranking.backend import Backend, Endpoint
from app.reranking.client import RerankClient
from app.reranking.completions_backend import CompletionsBackend
from app.reranking.http_endpoint import MAX_ANSWER_BYTES
from app.reranking.job import Answer, Job, RerankError, Scores
from app.reranking.prompts import Prompt
from app.reranking.rerank_backend import RerankBackend
from model_store.aggregation import Weighting
from model_store.bundle import Bundle
from model_store.rerank_prompt import PromptLayout
from model_store.reranker import RerankerInfo
from tests.app.reranking.endpoint import Asked, Pieces, Server, read, response, serving
from tests.app.reranking.processes import rerank_process, with_client

KEY = "sk-a-secret-key"
LAYOUT = PromptLayout(n_candidates=4, n_history=2, n_similar=2, max_title_characters=20)
INFO = RerankerInfo(
    name="any",
    layout=LAYOUT,
    weighting=Weighting(alpha_1=1, alpha_2=0, l_min=0, l_max=1, tail_interactions=3),
)
PROMPT = Prompt(("Old\n1", "New"), ("First", "Second", "Third"), (2, 0, 1), ("Theirs",), "u")
TIMEOUT_S = 0.4


def completions(server: Server, info: RerankerInfo = INFO, **options: Any) -> Backend:
    given = {"url": server.url, "key": KEY, "timeout_s": TIMEOUT_S, "model": "m", **options}
    return CompletionsBackend(Endpoint(api="completions", **given), info)


def rerank(server: Server, **options: Any) -> Backend:
    given = {"key": KEY, "timeout_s": TIMEOUT_S, "model": "m", **options}
    return RerankBackend(Endpoint(server.url, "rerank", **given), LAYOUT)


def score(backend: Backend, *prompts: Prompt) -> list[Scores | RerankError]:
    async def run() -> list[Scores | RerankError]:
        found = await backend.score(prompts or [PROMPT])
        await backend.close()
        return found

    return asyncio.run(run())


def top(**logprobs: float) -> dict[str, Any]:
    """A completion with these most probable tokens."""
    return {"choices": [{"text": " A", "logprobs": {"top_logprobs": [logprobs]}}]}


def chat_top(**logprobs: Any) -> dict[str, Any]:
    """The same in the form of chat completions."""
    tokens = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"choices": [{"text": " A", "logprobs": {"content": [{"top_logprobs": tokens}]}}]}


def listed(found: Scores | RerankError) -> list[float]:
    assert not isinstance(found, RerankError), found
    assert found.dtype == np.float32
    return found.tolist()


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


COMPLETIONS_GARBAGE: dict[str, Any] = {
    "no choices": {},
    "empty choices": {"choices": []},
    "a list": [1],
    "no logprobs": {"choices": [{"text": "A", "logprobs": None}]},
    "no alternatives": {"choices": [{"logprobs": {"top_logprobs": []}}]},
    "alternatives that are none": {"choices": [{"logprobs": {"top_logprobs": [None]}}]},
    "an empty set of alternatives": top(),
    "none of the labels": top(**{" the": -1.0, " a": -2.0}),
    "a text": top(**{" A": "x"}),  # type: ignore[arg-type]
    "nothing": top(**{" A": None}),  # type: ignore[arg-type]
    "truth": top(**{" A": True}),
    "no chat tokens": chat_top(),
    "a chat token of nothing": chat_top(**{" A": None}),
    "chat tokens that are none": {
        "choices": [{"logprobs": {"content": [{"top_logprobs": ["A", 1, None]}]}}]
    },
    "a chat token without a text": {
        "choices": [{"logprobs": {"content": [{"top_logprobs": [{"logprob": -1}]}]}}]
    },
    "an error inside a 200": {"error": {"message": f"wrong key {KEY}"}},
}
RERANK_GARBAGE: dict[str, Any] = {
    "no results": {},
    "a list": [],
    "results that are none": {"results": {"index": 0}},
    "too few": {"results": [{"index": 0, "relevance_score": 1}]},
    "an index twice": {"results": [{"index": 0, "relevance_score": 1}] * 3},
    "an index out of range": {"results": [{"index": 3, "relevance_score": 1}]},
    "a negative index": {"results": [{"index": -1, "relevance_score": 1}]},
    "an index of text": {"results": [{"index": "0", "relevance_score": 1}]},
    "no score": {"results": [{"index": 0}]},
    "a score of text": {"results": [{"index": 0, "relevance_score": "1"}]},
    "a score that is nothing": {"results": [{"index": 0, "relevance_score": None}]},
    "a score beyond float32": {
        "results": [{"index": n, "relevance_score": 1e300} for n in range(3)]
    },
}
BAD: dict[str, Callable[[], Pieces]] = {
    "HTML": lambda: response(None, content=b"<html>\n<h1>Bad\x1b[31m Gateway</h1></html>"),
    "half a document": lambda: response(None, content=b'{"choices": [{"te'),
    "NaN": lambda: response(None, content=b'{"results": [{"index": 0, "relevance_score": NaN}]}'),
    "not UTF-8": lambda: response(None, content=b"\xff\xfe{}"),
    "nothing": lambda: response(None, content=b""),
    "401 with the key": lambda: response({"error": f"Incorrect API key: {KEY}"}, 401),
    "404": lambda: response({"detail": "Not Found"}, 404),
    "422": lambda: response({"detail": "no\nsuch\r\nmodel"}, 422),
    "429": lambda: response({}, 429, headers="Retry-After: 60\r\n"),
    "500": lambda: response(None, 500, content=b"Traceback\n  File x\n" * 900),
    "503": lambda: response(None, 503, content=b""),
    "a redirect": lambda: response({}, 307, headers="Location: http://127.0.0.1:1/\r\n"),
    "a closed connection": list,
    "half an answer": lambda: [b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"res'],
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH\r\n"],
    "a wrong length": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"],
    "silence": lambda: [3.0],
    "headers, then silence": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 3.0],
    "a drip of headers": lambda: [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n", 0.1] * 30],
    "a drip of the body": lambda: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n",
        *[b" ", 0.1] * 30,
    ],
    "far too much": lambda: response(None, content=b" " * (MAX_ANSWER_BYTES + 1)),
    "garbage behind gzip": lambda: response(
        None, content=b"no gzip", headers="Content-Encoding: gzip\r\n"
    ),
}


def check_one_line(found: Scores | RerankError) -> None:
    assert isinstance(found, RerankError)
    line = str(found)
    assert line.isprintable()
    assert len(line) < 400
    assert KEY not in line
    assert line.startswith("endpoint http://127.0.0.1:")


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
@pytest.mark.parametrize("backend", [completions, rerank])
def test_a_bad_answer_is_one_line_in_time(
    backend: Callable[[Server], Backend], answer: Callable[[], Pieces]
) -> None:
    with serving(lambda _: answer()) as server:
        begun = time.monotonic()
        [found] = score(backend(server))
    assert time.monotonic() - begun < 2 * TIMEOUT_S + 1
    check_one_line(found)


@pytest.mark.parametrize("document", COMPLETIONS_GARBAGE.values(), ids=COMPLETIONS_GARBAGE)
def test_a_completion_of_another_form_is_one_line(document: Any) -> None:
    with serving(lambda _: response(document)) as server:
        [found] = score(completions(server))
    check_one_line(found)


@pytest.mark.parametrize("document", RERANK_GARBAGE.values(), ids=RERANK_GARBAGE)
def test_a_rerank_answer_of_another_form_is_one_line(document: Any) -> None:
    with serving(lambda _: response(document)) as server:
        [found] = score(rerank(server))
    check_one_line(found)


def test_nobody_listening_is_one_line_without_the_password() -> None:
    endpoint = Endpoint("http://user:pass-word@127.0.0.1:1/v1", "rerank", key=KEY, timeout_s=1)
    [found] = score(RerankBackend(endpoint, LAYOUT))
    assert isinstance(found, RerankError)
    assert "pass-word" not in str(found)
    assert "127.0.0.1:1" in str(found)


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
