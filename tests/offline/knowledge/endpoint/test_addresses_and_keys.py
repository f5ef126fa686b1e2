"""How people write addresses and keys (E1, E7), and that no message holds a secret."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from model_store.endpoint_access import EndpointAccess
from model_store.errors import ConfigError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.endpoint.client import EndpointError
from tests.offline.knowledge.chat_endpoint import Endpoint, Reply, serving_endpoint
from tests.offline.knowledge.endpoint.asking import ask

KEY = "sk-proj/se+same-42"


def only_at(path: str) -> Any:
    """Answers that an endpoint gives at one path alone."""

    def answers(request: dict[str, Any]) -> Reply | None:
        return None if request["path"] == path else (404, {"detail": "Not Found"})

    return answers


@pytest.mark.parametrize(
    "written", [f"{KEY}\n", f"  {KEY}\r\n", f'"{KEY}"', f"'{KEY}' ", f"Bearer {KEY}\n"]
)
def test_a_key_is_sent_without_what_stands_around_it(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", written)
    ask(endpoint)
    assert [asked["authorization"] for asked in endpoint.headers] == [f"Bearer {KEY}"]


@pytest.mark.parametrize("written", ["", "  \n", '""'])
def test_a_blank_key_is_none(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", written)
    ask(endpoint)
    assert "authorization" not in endpoint.headers[0]


@pytest.mark.parametrize("written", [f"{KEY}\n{KEY}", f"{KEY}é", f"\ufeff{KEY}", f"{KEY}\x00"])
def test_a_key_that_cannot_be_sent_is_rejected_before_anything_is_asked(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr("os.environ", {"LONGTAIL_LLM_API_KEY": written})
    with pytest.raises(ConfigError, match="other than printable ASCII") as caught:
        ask(endpoint)
    assert "se+same" not in str(caught.value)
    assert not endpoint.requests


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": f"Incorrect API key provided: {KEY}"}},
        {"detail": [{"loc": ["header"], "msg": f"bad 'Bearer {KEY}'"}]},
        f"<html>{'x' * 290} {KEY}</html>".encode(),
        f'{{"error": "{KEY.replace("/", chr(92) + "/")}"}}'.encode(),
    ],
)
@pytest.mark.parametrize("status", [401, 400, 503, 200])
def test_no_message_holds_the_key(
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: Any,
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", f"{KEY}\n")
    caplog.set_level("DEBUG")
    endpoint.answers = lambda _: (status, body)
    with pytest.raises(EndpointError) as caught:
        ask(endpoint, patience_s=0.02)
    shown = str(caught.value) + capsys.readouterr().err + caplog.text
    assert "same-42" not in shown
    assert "sk-proj" not in shown
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/v1/completions", "/v1/chat/completions"),
        ("/v1/models", "/v1/chat/completions"),
        ("/v1/chat", "/v1/chat/completions"),
        ("/V1//", "/V1/chat/completions"),
        ("/v1/#key", "/v1/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),
        ("/openai/deployments/gpt?api-version=2024-10-21",
         "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"),
        ("/openai/deployments/gpt/chat/completions?api-version=1",
         "/openai/deployments/gpt/chat/completions?api-version=1"),
        # Found out by asking, as these two could be either.
        ("", "/chat/completions"),
        ("/proxied", "/proxied/v1/chat/completions"),
    ],
)  # fmt: skip
def test_an_address_is_understood(endpoint: Endpoint, written: str, path: str) -> None:
    endpoint.answers = only_at(path)
    (first,) = ask(f" {endpoint.server}{written}\n")
    assert first.text.startswith("About toys")
    assert len(endpoint.requests) <= 2


def test_azures_key_has_a_header_of_its_own(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", KEY)
    ask(f"{endpoint.server}/openai/deployments/gpt?api-version=2024-10-21")
    assert endpoint.headers[0]["api-key"] == KEY


def test_a_user_and_password_are_sent_and_never_shown(endpoint: Endpoint) -> None:
    url = endpoint.url.replace("//", "//me:pass%2Fword@")
    ask(url)
    expected = base64.b64encode(b"me:pass/word").decode()
    assert endpoint.headers[0]["authorization"] == f"Basic {expected}"
    endpoint.answers = lambda _: (401, {"error": {"message": "no pass/word, no pass%2Fword"}})
    with pytest.raises(EndpointError) as caught:
        ask(url)
    assert "word" not in str(caught.value).replace("password", "")
    assert endpoint.server.rpartition("//")[2] in str(caught.value)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_call_that_moved_is_found_once(endpoint: Endpoint, status: int) -> None:
    endpoint.reply_headers = {"Location": "/elsewhere/chat/completions?x=1"}
    endpoint.answers = lambda request: (
        None if request["path"].startswith("/elsewhere") else (status, b"")
    )
    answers = ask(endpoint, "toys", "cars", concurrency=1)
    assert [answer.text[:10] for answer in answers] == ["About toys", "About cars"]
    paths = [request["path"] for request in endpoint.requests]
    assert paths == ["/v1/chat/completions", *["/elsewhere/chat/completions?x=1"] * 2]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_key_does_not_follow_to_another_server(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("LONGTAIL_LLM_API_KEY", KEY)
    with serving_endpoint() as other:
        there = other.url.replace("127.0.0.1", "localhost")
        endpoint.reply_headers = {"Location": f"{there}/chat/completions?token={KEY}"}
        endpoint.answers = lambda _: (status, b"")
        with pytest.raises(
            EndpointError, match=f"it points to {there}/chat/completions$"
        ) as caught:
            ask(endpoint)
        assert not other.requests
    assert f"status {status}" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_call_that_moves_round_and_round_ends(endpoint: Endpoint) -> None:
    hops = iter(range(100))
    endpoint.answers = lambda _: (
        endpoint.reply_headers.update({"Location": f"/v1/{next(hops)}"}) or (308, b"")  # type: ignore[func-returns-value]
    )
    with pytest.raises(EndpointError, match="status 308"):
        ask(endpoint)
    assert len(endpoint.requests) < 10


@pytest.mark.parametrize("location", ["http://[bad", "ftp://x/", "", "/v1/chat/completions"])
def test_a_redirect_that_leads_nowhere_is_one_line(endpoint: Endpoint, location: str) -> None:
    endpoint.reply_headers = {"Location": location}
    endpoint.answers = lambda _: (308, b"")
    with pytest.raises(EndpointError, match=r"status 308.*it points") as caught:
        ask(endpoint)
    assert "\n" not in str(caught.value)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [401, 402, 404, 405, 410, 501])
def test_an_error_without_a_reason_still_says_something(endpoint: Endpoint, status: int) -> None:
    endpoint.answers = lambda _: (status, b"")
    with pytest.raises(EndpointError, match=rf"status {status}: [A-Z].*, without a reason$"):
        ask(endpoint)
    assert len(endpoint.requests) == 1


def test_an_unknown_model_is_not_looked_for_at_another_address(endpoint: Endpoint) -> None:
    unknown = {"error": {"message": "The model `big-llm` does not exist."}}
    endpoint.answers = lambda _: (404, unknown)
    with pytest.raises(EndpointError, match="`big-llm` does not exist"):
        ask(endpoint.server)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "/v1", "htp://h/v1", "http://", "https:///v1", "http://h:port/v1",
     "http://h/v 1", "http://[::1/v1", "", "http://a..b/v1", f"http://{'a' * 64}.org/v1",
     "unix:///run/llm.sock", "http+unix://%2Frun%2Fllm.sock/v1", "http://h:99999/v1"],
)  # fmt: skip
def test_something_else_than_an_address_is_one_line(url: str) -> None:
    with pytest.raises(ConfigError, match="is not an http:// or https:// address"):
        EndpointAccess(url, "chat/completions", None)


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@h/v1", "http://h/v1?key=secret", "https://h/?api_key=secret&x=1",
     "http://me:secret@h:port/v1", "http://h/v1?subscription-key=secret"],
)  # fmt: skip
def test_a_recipe_holds_no_secret(url: str) -> None:
    from offline.config_file import describe_first

    with pytest.raises(ValueError, match="LONGTAIL_LLM_API_KEY") as caught:
        KnowledgeConfig(base_url=url)
    assert "secret" not in describe_first(caught.value).replace("hold a secret", "")  # type: ignore[arg-type]


def test_options_that_are_no_keys_may_stand_in_a_recipe() -> None:
    url = "https://h/openai/deployments/gpt?api-version=2024-10-21&region=north"
    assert KnowledgeConfig(base_url=url).base_url == url
