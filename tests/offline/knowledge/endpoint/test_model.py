"""What is sent, and what of it an endpoint rejects (E2, E4)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.endpoint.client import EndpointError
from offline.knowledge.flaws import Flaw
from offline.knowledge.generation import generate_knowledge
from offline.knowledge.prompt import Prompt
from tests.offline.knowledge.chat_endpoint import Endpoint, Reply, completion
from tests.offline.knowledge.endpoint.asking import SAMPLING, ask, open_model
from tests.offline.knowledge.stand_ins import texts_of

QUESTIONS = [f"toy {number}" for number in range(5)]


def test_a_request_follows_the_protocol(endpoint: Endpoint) -> None:
    (answer,) = open_model(endpoint).generate([Prompt("toys", "This film")], SAMPLING)
    assert answer.text == "About toys: people who enjoy it are kind and calm."
    assert (answer.n_tokens, answer.flaw) == (9, None)
    assert endpoint.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "big-llm",
            "messages": [{"role": "user", "content": "toys"}],
            "max_tokens": 32,
            "temperature": 0.2,
            "seed": 5,
        }
    ]


def test_answers_keep_the_order_of_the_prompts(endpoint: Endpoint) -> None:
    endpoint.troubles = [503, 429, 500]
    answers = ask(endpoint, *QUESTIONS)
    assert [answer.text.split(":")[0] for answer in answers] == [f"About {q}" for q in QUESTIONS]
    assert len(endpoint.requests) == len(QUESTIONS) + 3


def openai(parameter: str) -> dict[str, Any]:
    return {
        "error": {
            "message": f"Unsupported parameter: '{parameter}' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "type": "invalid_request_error",
            "param": parameter,
            "code": "unsupported_parameter",
        }
    }


def fastapi(parameter: str) -> dict[str, Any]:
    return {"detail": [{"loc": ["body", parameter], "msg": "Extra inputs are not permitted"}]}


def in_words(parameter: str) -> dict[str, Any]:
    return {"message": f"property '{parameter}' is unsupported"}


def nothing(_: str) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("status", "say"), [(400, openai), (422, fastapi), (400, in_words), (400, nothing)]
)
@pytest.mark.parametrize(
    "rejected",
    [
        ("max_tokens",),
        ("temperature",),
        ("seed",),
        ("max_tokens", "max_completion_tokens"),
        ("max_tokens", "temperature", "seed"),
    ],
)
def test_a_parameter_that_is_rejected_is_left_out_for_the_run(
    endpoint: Endpoint, rejected: tuple[str, ...], status: int, say: Any
) -> None:
    def answers(request: dict[str, Any]) -> Reply | None:
        found = [name for name in rejected if name in request]
        return (status, say(found[0])) if found else None

    endpoint.answers = answers
    model = open_model(endpoint, concurrency=1)
    prompts = [Prompt(question, "") for question in QUESTIONS]
    texts = [answer.text for answer in model.generate(prompts, SAMPLING)]
    assert texts == [f"About {q}: people who enjoy it are kind and calm." for q in QUESTIONS]
    n_found_out = len(endpoint.requests) - len(QUESTIONS)
    assert n_found_out <= len(rejected) + (5 if say is nothing else 0)
    last = endpoint.requests[-1]
    assert not set(rejected) & set(last)
    if rejected == ("max_tokens",):
        assert last["max_completion_tokens"] == 32
    # What was found out holds for further calls.
    model.generate(prompts, SAMPLING)
    assert len(endpoint.requests) == n_found_out + 2 * len(QUESTIONS)


def test_a_model_that_only_streams_is_asked_to(endpoint: Endpoint) -> None:
    said = "This model only supports stream mode, please enable the stream parameter"
    endpoint.answers = lambda request: (
        completion("It is streamed.") if request.get("stream") else (400, {"message": said})
    )
    answers = ask(endpoint, *QUESTIONS[:2], concurrency=1)
    assert [answer.text for answer in answers] == ["It is streamed."] * 2
    assert len(endpoint.requests) == 3


def test_threads_find_a_rejected_parameter_out_together(endpoint: Endpoint) -> None:
    endpoint.answers = lambda request: (
        (400, openai("temperature")) if "temperature" in request else None
    )
    answers = ask(endpoint, *QUESTIONS)
    assert not [answer for answer in answers if answer.flaw]
    assert "seed" in endpoint.requests[-1]


def test_what_is_left_out_is_said(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.answers = lambda request: (
        (400, openai("max_tokens")) if "max_tokens" in request else None
    )
    ask(endpoint)
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("from now on it is sent max_completion_tokens, temperature, seed")
    assert "'max_tokens' is not supported" in line


def test_an_endpoint_that_rejects_everything_is_asked_a_few_times(endpoint: Endpoint) -> None:
    endpoint.answers = lambda _: (400, {"error": {"message": "Invalid model name\nin model=x"}})
    with pytest.raises(EndpointError, match=r"status 400: Invalid model name in model=x$"):
        ask(endpoint, *QUESTIONS)
    assert len(endpoint.requests) <= 2 * 4 + 5


AZURE = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
        "management policy.",
        "code": "content_filter",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
REJECTED: dict[str, tuple[Reply, Flaw]] = {
    "Azure's filter": ((400, AZURE), Flaw.FILTERED),
    "moderation": (
        (403, {"error": {"code": 403, "message": "openai/x requires moderation. It was flagged"}}),
        Flaw.FILTERED,
    ),
    "a filter in a 200": (completion(None, "content_filter"), Flaw.FILTERED),
    "a filter as an error in a 200": (
        (200, {"error": {"code": "data_inspection_failed", "message": "Input data may contain"}}),
        Flaw.FILTERED,
    ),
    "for legal reasons": ((451, b""), Flaw.REJECTED),
    "without a reason": ((400, b"<html><body>Bad Request</body></html>"), Flaw.REJECTED),
    "a field's error": ((422, {"detail": "unprocessable"}), Flaw.REJECTED),
    "a refusal": (completion(None, refusal="I can't help with that"), Flaw.REFUSAL),
}


@pytest.mark.parametrize(("reply", "flaw"), REJECTED.values(), ids=REJECTED)
def test_one_prompt_that_is_rejected_costs_no_other(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Reply, flaw: Flaw
) -> None:
    endpoint.answers = lambda request: (
        reply if "Heat" in request["messages"][0]["content"] else None
    )
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url, concurrency=2, retries=1)
    texts = texts_of("Heat", "Kim", "Jaws", "Alien")
    knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert [bool(text) for text in knowledge.texts] == [False, True, True, True]
    assert report.without_knowledge == {flaw: 1}
    assert report.named == {flaw: ["Heat"]}
    assert f"1 without a description ({flaw}): 'Heat'" in capsys.readouterr().err
    # The next run has all answers, and doesn't ask about that item again.
    n_requests = len(endpoint.requests)
    again, report = generate_knowledge(texts, config, tmp_path)
    assert (again, report.without_knowledge, report.from_cache) == (knowledge, {flaw: 1}, 4)
    assert len(endpoint.requests) == n_requests


TOO_LONG = {
    "OpenAI": (400, {"error": {"message": "This model's maximum context length is 4097 tokens. "
                               "However, your messages resulted in 5012 tokens. Please reduce the "
                               "length of the messages.", "code": "context_length_exceeded"}}),
    "vLLM": (400, {"object": "error", "message": "'max_tokens' or 'max_completion_tokens' is too "
                   "large: 64. This model's maximum context length is 512 tokens and your request "
                   "has 500 input tokens"}),
    "llama.cpp": (400, {"error": {"code": 400, "type": "exceed_context_size_error", "message":
                        "the request exceeds the available context size"}}),
    "TGI": (422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. "
                  "Given: 5000", "error_type": "validation"}),
    "Mistral": (400, {"message": "Prompt contains 40000 tokens, too large for model with 32768 "
                      "maximum context length"}),
    "Gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
                      "The input token count (9) exceeds the maximum number of tokens allowed"}}]),
    "Anthropic": (400, {"error": {"type": "invalid_request_error",
                                  "message": "prompt is too long: 21000 tokens > 20000 maximum"}}),
    "a proxy": (413, b"<html><h1>413 Request Entity Too Large</h1></html>"),
    "Groq": (413, {"error": {"message": "Request too large for model", "code": "rate_limit"}}),
    "a minute's tokens": (429, {"error": {"message": "Request too large for gpt-4 on tokens per "
                                          "min (TPM): Limit 10000, Requested 12000"}}),
    "OpenRouter, in a 200": (200, {"error": {"code": 400, "message":
                                             "maximum context length is 9 tokens"}}),
}  # fmt: skip


@pytest.mark.parametrize("reply", TOO_LONG.values(), ids=TOO_LONG)
def test_texts_are_cut_to_what_the_model_takes(
    endpoint: Endpoint, tmp_path: Path, reply: Reply
) -> None:
    endpoint.answers = lambda request: (
        reply if len(request["messages"][0]["content"]) > 1000 else None
    )
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url, concurrency=1)
    words = (0, 2000, 1900, 1800)
    texts = [f"Title: {n} words\nPlot: {'x y ' * n}".strip() for n in words]
    knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert all(knowledge.texts)
    assert (report.cut, report.without_knowledge) == (3, {})
    asked = [request["messages"][0]["content"] for request in endpoint.requests]
    assert len(asked) <= 4 + 4  # the length is found out once
    assert all(re.search(r"\n\nWhat is this item about, and what", text) for text in asked)
    assert max(len(text) for text in asked[-3:]) > 400


def test_a_text_that_stays_too_long_is_one_items_flaw(endpoint: Endpoint) -> None:
    endpoint.answers = lambda request: (
        TOO_LONG["OpenAI"] if "long" in request["messages"][0]["content"] else None
    )
    answers = ask(endpoint, "long " * 200, *QUESTIONS)
    assert [answer.flaw for answer in answers] == [Flaw.TOO_LONG, *[None] * len(QUESTIONS)]
    assert "maximum context length" in answers[0].reason


def test_a_limit_that_is_too_large_is_no_text_that_is_too_long(endpoint: Endpoint) -> None:
    said = "max_tokens is too large: 32. This model supports at most 16 completion tokens"
    endpoint.answers = lambda request: (
        (400, {"error": {"message": said, "param": "max_tokens"}})
        if "max_tokens" in request
        else None
    )
    (answer,) = ask(endpoint, "toys " * 100)
    assert not answer.was_cut
    assert "max_completion_tokens" in endpoint.requests[-1]
