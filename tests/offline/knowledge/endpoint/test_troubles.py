"""Troubles that pass, and those that don't (E5)."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.endpoint import client
from offline.knowledge.endpoint.client import EndpointError
from offline.knowledge.flaws import Flaw
from offline.knowledge.generation import generate_knowledge
from tests.free_ports import free_port
from tests.offline.knowledge.chat_endpoint import Endpoint, Reply, completion, sentence
from tests.offline.knowledge.endpoint.asking import ask
from tests.offline.knowledge.stand_ins import texts_of

PASSING_STATUSES = [408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529, 530, 599]


@pytest.mark.parametrize("trouble", [*PASSING_STATUSES, "hang up", "dawdle"])
def test_passing_trouble_is_waited_out(endpoint: Endpoint, trouble: int | str) -> None:
    endpoint.troubles = [trouble, trouble]
    (answer,) = ask(endpoint, timeout_s=0.2)
    assert answer.text.startswith("About toys")
    assert len(endpoint.requests) == 3


IN_A_200: dict[str, Any] = {
    "OpenRouter's upstream": {"error": {"code": 502, "message": "Provider returned error"}},
    "a rate limit": {"error": {"code": "429", "message": "Rate limit exceeded"}},
    "a model that loads": {"error": {"message": "Model is loading"}},
    "a text": {"error": "overloaded"},
    "a choice's": {"choices": [{"message": None, "error": {"code": 503, "message": "gone"}}]},
    "no choices": {"choices": []},
    "HTML": b"<html>Bad gateway</html>",
    "half a document": b'{"choices": [{"mess',
    "nothing": b"",
    "no completion": {"object": "list"},
    "no message": {"choices": [{"text": "old"}]},
    "not UTF-8, not JSON": b"\xff\xfe",
}


@pytest.mark.parametrize("document", IN_A_200.values(), ids=IN_A_200)
def test_an_error_inside_a_200_is_waited_out(endpoint: Endpoint, document: Any) -> None:
    endpoint.answers = lambda _: (200, document) if len(endpoint.requests) < 3 else None
    (answer,) = ask(endpoint)
    assert (answer.text[:10], len(endpoint.requests)) == ("About toys", 3)


@pytest.mark.parametrize("name", ["HTML", "half a document", "nothing", "no completion"])
def test_what_stays_no_completion_is_one_line(endpoint: Endpoint, name: str) -> None:
    endpoint.answers = lambda _: (200, IN_A_200[name])
    with pytest.raises(EndpointError, match="its answer is not") as caught:
        ask(endpoint)
    assert "\n" not in str(caught.value)
    assert len(endpoint.requests) == client.MAX_GARBLED


def test_an_item_that_never_gets_a_choice_goes_without(endpoint: Endpoint) -> None:
    endpoint.answers = lambda _: (200, {"choices": []})
    (answer,) = ask(endpoint)
    assert answer.flaw is Flaw.EMPTY


def test_the_wait_that_the_endpoint_asks_for_is_kept(endpoint: Endpoint) -> None:
    endpoint.troubles = [429]
    endpoint.reply_headers = {"Retry-After": "0.3"}
    started = time.monotonic()
    ask(endpoint)
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "Sun, 06 Nov 1994 08:49:37"},  # no zone
        {"Retry-After": "1994-11-06T08:49:37"},
        {"Retry-After": "0.01s"},
        {"Retry-After": "10ms"},
        {"Retry-After": "-5"},
        {"Retry-After": "nan"},
        {"Retry-After": "inf"},
        {"Retry-After": "1,2"},
        {"Retry-After": "soon"},
        {"Retry-After": ""},
        {"retry-after-ms": "10"},
    ],
)
def test_odd_wants_to_wait_cost_no_answer(endpoint: Endpoint, headers: dict[str, str]) -> None:
    endpoint.troubles = [429]
    endpoint.reply_headers = headers
    (answer,) = ask(endpoint)
    assert (answer.flaw, len(endpoint.requests)) == (None, 2)


def test_milliseconds_to_wait_are_kept(endpoint: Endpoint) -> None:
    endpoint.troubles = [429]
    endpoint.reply_headers = {"retry-after-ms": "250", "Retry-After": "0"}
    started = time.monotonic()
    ask(endpoint)
    assert time.monotonic() - started >= 0.25


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wait_beyond_the_patience_ends_at_once(endpoint: Endpoint, form: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    endpoint.troubles = [429] * 9
    endpoint.reply_headers = {"Retry-After": "60" if form == "seconds" else date}
    started = time.monotonic()
    with pytest.raises(EndpointError, match="status 429"):
        ask(endpoint, patience_s=30)
    assert time.monotonic() - started < 2
    assert len(endpoint.requests) == 1


def test_lasting_trouble_ends_in_one_line_with_the_limit(endpoint: Endpoint) -> None:
    endpoint.troubles = [503] * 500
    with pytest.raises(EndpointError, match=r"status 503: not now.*0\.2 s") as caught:
        ask(endpoint, patience_s=0.2)
    assert endpoint.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(endpoint.requests) > 2


def test_who_waits_is_told(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "NOTICE_AFTER_S", 0.0)
    endpoint.troubles = [503] * 6
    ask(endpoint, *"abcdef")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waiting, up to 5 s, for endpoint {endpoint.url}")
    assert line.endswith("status 503: not now")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, {"message": "Incorrect API key"}),
        (402, {"message": "Insufficient credits"}),
        (403, {"message": "Your IP is not on the list"}),
        (404, {"message": "model not found"}),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
        (501, {"message": "no chat here"}),
    ],
)
def test_trouble_that_cannot_pass_is_not_tried_again(
    endpoint: Endpoint, status: int, error: dict[str, str]
) -> None:
    endpoint.answers = lambda _: (status, {"error": error})
    with pytest.raises(EndpointError, match=error["message"]):
        ask(endpoint)
    assert len(endpoint.requests) == 1


def test_a_missing_endpoint_is_named_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "UNREACHABLE_PATIENCE_S", 0.1)
    url = f"http://127.0.0.1:{free_port()}/v1"
    started = time.monotonic()
    with pytest.raises(EndpointError, match=f"{url}.*no connection.*0.1 s"):
        ask(url, patience_s=900)
    assert time.monotonic() - started < 5


def serve_once(answer: bytes) -> str:
    """The https address of a server that answers anything with some bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(answer)

    threading.Thread(target=accept, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_a_server_without_tls_is_not_waited_for() -> None:
    with pytest.raises(EndpointError, match="SSL"):
        ask(serve_once(b"HTTP/1.1 400 Bad Request\r\n\r\n"), patience_s=900)


def test_a_connection_that_hangs_is_no_answer_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "UNREACHABLE_PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match=r"no connection in 0\.2 s"):
            ask(url, timeout_s=0.2, patience_s=900)


def test_answers_before_the_end_are_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    """Those of the same batch, too: they were paid for."""

    def answers(request: dict[str, Any]) -> Reply | None:
        if "film 5\n" in request["messages"][0]["content"]:
            return (401, b"") if len(endpoint.requests) >= 12 else (503, b"")
        return None

    endpoint.answers = answers
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url, concurrency=4)
    texts = texts_of(*[f"film {number}" for number in range(12)])
    with pytest.raises(EndpointError, match="status 401"):
        generate_knowledge(texts, config, tmp_path)
    endpoint.answers = lambda _: None
    before = len(endpoint.requests)
    _, report = generate_knowledge(texts, config, tmp_path)
    assert (report.from_cache, report.generated) == (11, 1)
    assert len(endpoint.requests) == before + 1


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("half \\ud83d of it", "half \ufffd of it"),
        ("\\ude00 the other half", "\ufffd the other half"),
        ("whole \\ud83d\\ude00", "whole \U0001f600"),
        ("two \\ud83d\\ud83d halves", "two \ufffd\ufffd halves"),
    ],
)
def test_half_a_character_is_replaced_and_the_answer_kept(
    endpoint: Endpoint, tmp_path: Path, written: str, kept: str
) -> None:
    """E6."""
    sentences = f"This is {written}, which is what people who enjoy it said about all that."
    body = f'{{"choices": [{{"message": {{"content": "{sentences}"}}}}]}}'.encode()
    endpoint.answers = lambda _: (200, body)
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url)
    knowledge, _ = generate_knowledge(texts_of("Heat", "Kim"), config, tmp_path)
    assert [kept in text for text in knowledge.texts] == [True, True]
    n_requests = len(endpoint.requests)
    assert generate_knowledge(texts_of("Heat", "Kim"), config, tmp_path)[0] == knowledge
    assert len(endpoint.requests) == n_requests


def test_bytes_that_are_no_text_are_replaced(endpoint: Endpoint) -> None:
    _, document = completion("caf? au lait")
    import json

    endpoint.answers = lambda _: (200, json.dumps(document).encode().replace(b"?", b"\xe9"))
    (answer,) = ask(endpoint)
    assert answer.text == "caf\ufffd au lait"


def test_an_endless_answer_is_cut_to_what_a_bundle_takes(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    from model_store.knowledge_texts import MAX_TEXT_BYTES, TextArrays

    words = " ".join(f"wörd{number}" for number in range(20_000))
    endpoint.answers = lambda request: completion(f"{sentence(request)} {words}.")
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url)
    knowledge, _ = generate_knowledge(texts_of("Heat"), config, tmp_path)
    assert 0 < len(knowledge.texts[0].encode()) <= MAX_TEXT_BYTES
    TextArrays.of(knowledge.texts, knowledge.made_on)
