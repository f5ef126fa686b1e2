"""`longtail mcp` as a language model's program uses it: by the SDK's own session."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent

from longtail_client import AsyncClient, Client, cli, mcp_server
from model_store.store import connect
from model_store.tokens import Tokens
from tests.app.conftest import wait_for
from tests.app.http.curl_examples import blocks_of
from tests.app.listening import listening
from tests.clients.conftest import RunningService
from tests.contracts.tree import CLIENT, ROOT
from tests.free_ports import free_port

URL = "http://127.0.0.1:8000"
TOOLS = {"recommend", "similar_items", "explain"}


@pytest.fixture(scope="module")
def keyed(service: RunningService) -> Iterator[tuple[str, str]]:
    """URL of a service that requires keys, and one of these."""
    assert service.settings.redis_url is not None
    with connect(service.settings.redis_url) as client:
        _, key = Tokens(client).create("call")
    settings = service.settings.model_copy(update={"api_keys": "required"})
    with listening(settings) as running:
        yield f"http://127.0.0.1:{running.port}", key


@asynccontextmanager
async def session_with(url: str, errors: Path, **variables: str) -> AsyncIterator[ClientSession]:
    """A session with a server as the README configures it, which writes its log into a file."""
    [block] = [one for one in blocks_of(ROOT / "README.md") if "mcpServers" in one.text]
    configured = json.loads(block.text.replace(URL, url))["mcpServers"]["longtail"]
    assert configured["command"] == "longtail"
    server = StdioServerParameters(
        command=sys.executable,
        args=[str(ROOT / "longtail.py"), *configured["args"]],
        env={"PYTHONPATH": str(ROOT / CLIENT), "PATH": os.environ["PATH"], **variables},
    )
    with errors.open("w") as log:
        async with (
            stdio_client(server, errlog=log) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def test_a_session_over_stdio(
    service: RunningService, keyed: tuple[str, str], tmp_path: Path
) -> None:
    url, key = keyed

    async def run() -> str:
        async with session_with(url, tmp_path / "log", LONGTAIL_CALLER_KEY=key) as session:
            listed = (await session.list_tools()).tools
            assert {tool.name for tool in listed} == TOOLS
            for tool in listed:
                assert tool.description
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint
            result = await session.call_tool(
                "recommend",
                {"user_id": "196", "k": 3, "filters": {"genres": {"any": ["drama"]}}},
            )
            answer: Any = result.structured_content
            assert not result.is_error
            assert len(answer["items"]) == 3
            assert answer["items"][0]["fields"]["title"]
            near = await session.call_tool("similar_items", {"item_id": "50", "k": 2})
            assert len(near.structured_content["items"]) == 2  # type: ignore[index]
            wrong = await session.call_tool("recommend", {"user_id": "196", "fields": ["titel"]})
            assert wrong.is_error
            assert "titel" in text_of(wrong)
            return "".join(map(text_of, (result, near, wrong)))

    assert key not in anyio.run(run)
    assert (tmp_path / "log").read_text() == ""


def call(url: str, tool: str, key: str | None = None, **arguments: Any) -> CallToolResult:
    """A call of a tool in this process."""

    async def run() -> CallToolResult:
        async with AsyncClient(url, api_key=key) as client:
            server = mcp_server.make_server(client)
            result = await server.call_tool(tool, arguments)
            assert isinstance(result, CallToolResult)
            return result

    return anyio.run(run)


def failure_of(url: str, tool: str, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        call(url, tool, **arguments)
    return str(caught.value)


def test_an_explanation_names_the_past_items(service: RunningService) -> None:
    known = call(service.url, "explain", item_id="50", history=["242", "181"])
    answer: Any = known.structured_content
    assert answer["item_id"] == "50"
    because = {one["item_id"] for one in answer["explanation"]["because"]}
    assert because
    assert because <= {"242", "181"}
    assert "title" in answer["fields"]
    seen = call(service.url, "explain", item_id="242", history=["242", "181"])
    assert seen.structured_content["item_id"] == "242"  # type: ignore[index]


def test_what_can_not_be_explained_has_its_reason(service: RunningService) -> None:
    assert "it is unknown" in failure_of(service.url, "explain", item_id="?", history=["242"])
    disliked = {"user_id": "hard to please", "item_id": "50", "type": "dislike"}
    with Client(service.url) as client:
        client.send_events([disliked])
    reason = failure_of(service.url, "explain", item_id="50", user_id="hard to please")
    assert "withdrawn, hidden by a rule, or disliked" in reason


def test_failures_are_the_services_messages(service: RunningService) -> None:
    assert "one of user_id, history, interests is needed" in failure_of(service.url, "recommend")
    assert "item_id '?' is unknown" in failure_of(service.url, "similar_items", item_id="?")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert f"POST {url}/recommend" in failure_of(url, "recommend", user_id="196")


def test_a_wrong_key_is_not_shown(keyed: tuple[str, str]) -> None:
    url, key = keyed
    with pytest.raises(ToolError, match="401: the caller's key is wrong") as caught:
        call(url, "recommend", key=f"{key[:-1]}_", user_id="196")
    assert key[:-1] not in str(caught.value)


def test_over_http(service: RunningService) -> None:
    port = free_port()
    command = [sys.executable, "-m", "longtail_client.cli", "--http", "--port", str(port)]
    environment = {"PYTHONPATH": str(ROOT / CLIENT), "LONGTAIL_URL": service.url}

    async def run() -> None:
        async with (
            streamable_http_client(f"http://127.0.0.1:{port}/mcp") as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            result = await session.call_tool("similar_items", {"item_id": "50", "k": 1})
            assert not result.is_error

    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(lambda: listens(port))
            anyio.run(run)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_keeps_it_from_starting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["--url", "127.0.0.1:8000"]) == 1
    assert capsys.readouterr().err == (
        "longtail mcp: the service's URL '127.0.0.1:8000' is not one like http://127.0.0.1:8000\n"
    )
    for port in ("0", "65536", "http"):
        with pytest.raises(SystemExit):
            cli.main(["--http", "--port", port])
        assert f"{port!r} is no port from 1 to 65535" in capsys.readouterr().err
    monkeypatch.setenv("LONGTAIL_CALLER_KEY", "sécret")
    assert cli.main([]) == 1
    error = capsys.readouterr().err
    assert error == (
        "longtail mcp: LONGTAIL_CALLER_KEY has characters other than printable ASCII\n"
    )
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    assert cli.main([]) == 1
    assert "pip install 'longtail-client[mcp]'" in capsys.readouterr().err


def test_where_it_cannot_listen_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags, reason in (
            (["--port", port], f"127.0.0.1:{port}: Address already in use"),
            (["--host", "nowhere.invalid"], "nowhere.invalid:8001: "),
        ):
            assert cli.main(["--http", *flags]) == 1
            error = capsys.readouterr().err
            assert error.startswith(f"longtail mcp: can't listen on {reason}")
            assert error.count("\n") == 1
