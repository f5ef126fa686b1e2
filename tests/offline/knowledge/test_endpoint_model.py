import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.errors import ConfigError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.endpoint_model import EndpointError, EndpointModel
from offline.knowledge.generation import generate_knowledge
from offline.knowledge.language_model import Sampling
from offline.knowledge.prompt import Prompt
from tests.offline.knowledge.chat_endpoint import Endpoint, serving_endpoint
from tests.offline.knowledge.stand_ins import texts_of

SAMPLING = Sampling(max_new_tokens=32, temperature=0.2, repetition_penalty=1.1, seed=5)
QUICKLY_S = 0.01


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving_endpoint() as endpoint:
        yield endpoint


def open_endpoint(endpoint: Endpoint, timeout_s: float = 5.0) -> EndpointModel:
    return EndpointModel("big-llm", endpoint.url, 4, timeout_s, first_wait_s=QUICKLY_S)


def test_a_request_follows_the_protocol(endpoint: Endpoint) -> None:
    (answer,) = open_endpoint(endpoint).generate([Prompt("toys", "This film")], SAMPLING)
    assert answer.text == "About toys: people who enjoy it are kind and calm."
    assert answer.n_tokens == 9
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
    prompts = [Prompt(f"toy {i}", "") for i in range(20)]
    answers = open_endpoint(endpoint).generate(prompts, SAMPLING)
    assert [answer.text.split(":")[0] for answer in answers] == [
        f"About toy {i}" for i in range(20)
    ]
    assert len(endpoint.requests) == 23


@pytest.mark.parametrize("trouble", [408, 429, 500, 502, 503, 504, "hang up", "dawdle"])
def test_passing_trouble_is_waited_out(endpoint: Endpoint, trouble: int | str) -> None:
    endpoint.troubles = [trouble, trouble]
    (answer,) = open_endpoint(endpoint, timeout_s=0.2).generate([Prompt("toys", "")], SAMPLING)
    assert answer.text.startswith("About toys")
    assert len(endpoint.requests) == 3


def test_the_wait_that_the_endpoint_asks_for_is_kept(endpoint: Endpoint) -> None:
    endpoint.troubles = [429]
    endpoint.retry_after = "0.3"
    started = time.monotonic()
    open_endpoint(endpoint).generate([Prompt("toys", "")], SAMPLING)
    assert time.monotonic() - started >= 0.3


def test_lasting_trouble_ends_in_one_line_with_the_address(endpoint: Endpoint) -> None:
    endpoint.troubles = [503] * 50
    with pytest.raises(EndpointError) as caught:
        open_endpoint(endpoint).generate([Prompt("toys", "")], SAMPLING)
    assert endpoint.url in str(caught.value)
    assert "503" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(endpoint.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_rejected_request_is_not_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.troubles = [status] * 50
    with pytest.raises(EndpointError, match=str(status)):
        open_endpoint(endpoint).generate([Prompt("toys", "")], SAMPLING)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [null]}'])
def test_something_else_than_a_completion_is_rejected(endpoint: Endpoint, body: bytes) -> None:
    endpoint.body = body
    with pytest.raises(EndpointError, match="not a chat completion"):
        open_endpoint(endpoint).generate([Prompt("toys", "")], SAMPLING)


def test_a_missing_endpoint_is_named_with_its_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match=url):
        EndpointModel("m", url, 1, 1.0, first_wait_s=QUICKLY_S).generate(
            [Prompt("x", "")], SAMPLING
        )


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", "sesame-42")
    caplog.set_level("DEBUG")
    endpoint.troubles = [401]
    with pytest.raises(EndpointError) as caught:
        open_endpoint(endpoint).generate([Prompt("toys", "")], SAMPLING)
    assert endpoint.headers[0]["Authorization"] == "Bearer sesame-42"
    assert "sesame" not in str(caught.value)
    assert "sesame" not in caplog.text


def test_an_address_without_a_scheme_is_rejected() -> None:
    with pytest.raises(ConfigError, match="localhost:8000"):
        EndpointModel("m", "localhost:8000", 1, 1.0)


def test_knowledge_comes_from_an_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url, item_kind="film")
    knowledge, report = generate_knowledge(texts_of("Heat", "Kim"), config, tmp_path)
    assert [text.split(":")[1] for text in knowledge.texts] == [" Heat", " Kim"]
    assert (report.generated, report.tokens) == (2, 18)
