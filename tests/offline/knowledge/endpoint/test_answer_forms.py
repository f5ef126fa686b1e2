"""Answers that are there, in other forms than the protocol's: streams, parts, wrappings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offline.knowledge.endpoint.body import Garbled, parse_answer
from offline.knowledge.endpoint.client import EndpointError
from offline.knowledge.endpoint.completion import read_completion
from offline.knowledge.flaws import Flaw
from offline.knowledge.wrapping import unwrapped
from tests.offline.knowledge.chat_endpoint import Endpoint, completion
from tests.offline.knowledge.endpoint.asking import ask

ANSWER = "This film is for people who enjoy toys."
WHOLE = json.dumps(completion(ANSWER)[1])


def events(*pieces: dict[str, Any], end: str = "data: [DONE]\n\n", before: str = "") -> bytes:
    """A stream of pieces of a message, as servers send it."""
    chunks = [{"choices": [{"delta": piece, "finish_reason": None}]} for piece in pieces]
    return (before + "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + end).encode()


HALVES = ({"role": "assistant", "content": ""}, {"content": ANSWER[:9]}, {"content": ANSWER[9:]})
STOP = f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}]})}\n\n"


@pytest.mark.parametrize(
    "body",
    [
        WHOLE.encode(),
        f": OPENROUTER PROCESSING\n\n\n{WHOLE}".encode(),
        f"\n \n{json.dumps(completion(ANSWER)[1], indent=1)}\n".encode(),
        WHOLE.encode("utf-8-sig"),
        WHOLE.encode("utf-16"),
        events(*HALVES),
        events(*HALVES, before=": waiting\n\n"),
        events(*HALVES, end=STOP),
        events(*HALVES).replace(b"\n", b"\r\n"),
        events({"reasoning_content": "hm"}, *HALVES),
        f"event: completion\ndata: {WHOLE}\n\ndata: [DONE]\n\n".encode(),
    ],
)
def test_an_answer_is_found_in_its_body(body: bytes) -> None:
    answer = read_completion(parse_answer(body))
    assert (answer.text, answer.flaw) == (ANSWER, None)


@pytest.mark.parametrize("body", [events(*HALVES, end=""), b"data: {", b"data:\n\n"])
def test_a_stream_that_is_cut_is_no_answer(body: bytes) -> None:
    with pytest.raises(Garbled, match=r"ends too early|not JSON"):
        parse_answer(body)


def test_an_error_within_a_stream_is_met_as_any_other(endpoint: Endpoint) -> None:
    endpoint.answers = lambda _: (
        (200, b'data: {"error": {"code": 401, "message": "No credentials"}}\n\n')
        if len(endpoint.requests) > 1
        else (200, b'data: {"error": {"code": 503, "message": "overloaded"}}\n\n')
    )
    with pytest.raises(EndpointError, match="status 401: No credentials"):
        ask(endpoint)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "output_text", "text": ANSWER}],
        [{"type": "text", "text": {"value": ANSWER, "annotations": []}}],
        [ANSWER[:9], ANSWER[9:]],
        {"type": "text", "text": ANSWER},
        [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": ANSWER}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": ANSWER}],
        f"```\n{ANSWER}\n```",
        f"Sure! Here is the description:\n\n{ANSWER}",
        f'<think>hm</think>\n```json\n{{"description": "{ANSWER}"}}\n```',
    ],
)
def test_an_answer_is_found_in_its_message(content: Any) -> None:
    answer = read_completion(completion(content)[1])
    assert (answer.text, answer.flaw) == (ANSWER, None)


@pytest.mark.parametrize(
    ("usage", "n_tokens"),
    [(None, 0), ({}, 0), ({"completion_tokens": 9.0}, 9), ({"completion_tokens": -1}, 0)]
    + [({"completion_tokens": odd}, 0) for odd in ("9", None, float("nan"), [9])],
)
def test_odd_counts_of_tokens_cost_no_answer(usage: Any, n_tokens: int) -> None:
    answer = read_completion({**completion(ANSWER)[1], "usage": usage})
    assert (answer.text, answer.n_tokens) == (ANSWER, n_tokens)


def test_tokens_that_were_used_up_in_secret_are_thoughts() -> None:
    answer = read_completion(completion(None, "length")[1])
    assert answer.flaw is Flaw.UNFINISHED_THINKING


@pytest.mark.parametrize("error", [None, {}, "", {"code": None, "message": None}])
def test_an_error_that_says_nothing_is_none(endpoint: Endpoint, error: Any) -> None:
    endpoint.answers = lambda _: (200, {**completion(ANSWER)[1], "error": error})
    (answer,) = ask(endpoint)
    assert answer.text == ANSWER


@pytest.mark.parametrize(
    "wrapped",
    [
        ANSWER,
        f"```\n{ANSWER}\n```\n",
        f"```markdown\n{ANSWER}```",
        f'{{"description": "{ANSWER}"}}',
        f'"{ANSWER}"',
        f"“{ANSWER}”",
        f"Here is a short description of the film:\n{ANSWER}",
        f"Certainly, here it is:\n\n```text\n{ANSWER}\n```",
    ],
)
def test_wrappings_are_taken_off(wrapped: str) -> None:
    assert unwrapped(wrapped).strip() == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        '"Heat" is for those who like "Ronin"',
        "It has a motto:\nlive fast.",
        '{"a": "b", "c": "d"}',
        '{"a": 1}',
        "{not JSON}",
        "Use ``` to quote.",
        '"',
        "",
    ],
)
def test_a_text_that_is_not_wrapped_stays_as_it_is(text: str) -> None:
    assert unwrapped(text) == text
