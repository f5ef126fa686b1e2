"""The back ends behind HTTP, against servers that answer badly, late or never."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from app.reranking.backend import Backend, Endpoint
from app.reranking.http_endpoint import MAX_ANSWER_BYTES
from app.reranking.job import RerankError, Scores
from app.reranking.rerank_backend import RerankBackend
from tests.app.reranking.endpoint import Pieces, response, serving
from tests.app.reranking.endpoint_backends import (
    KEY,
    LAYOUT,
    chat_top,
    completions,
    rerank,
    score,
    top,
)

TIMEOUT_S = 0.4
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
    backend: Callable[..., Backend], answer: Callable[[], Pieces]
) -> None:
    with serving(lambda _: answer()) as server:
        begun = time.monotonic()
        [found] = score(backend(server, timeout_s=TIMEOUT_S))
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
