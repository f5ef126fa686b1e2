"""What commands with --url say where something else than Longtail answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

import longtail

COMMANDS = [
    "models list",
    "models show v",
    "models activate v",
    "models canary v --percent 5",
    "models shadow v --share 5",
    "models promote v",
    "models rollback",
    "models deactivate --model m",
    "models compare v w",
    "experiments show",
    "experiments show e",
    "experiments stop e",
    "experiments start e --arm a=50 --arm b=50",
    "rules show",
    "rules rollback",
    "evaluate",
]


class Foreign(BaseHTTPRequestHandler):
    """Answers 200 to everything, with the same body."""

    body: ClassVar[bytes]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    handler = type("Handler", (Foreign,), {"body": body})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"experiments": [1]}', b"<html>"])
def test_another_service_is_one_line(
    body: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", "long-enough")
    with answering(body) as url:
        for command in COMMANDS:
            assert longtail.main([*command.split(), "--url", url]) == 1, command
            error = capsys.readouterr().err
            assert error.count("\n") == 1, (command, error)
            assert error.startswith(f"longtail {command.split()[0]}: "), error
            assert url in error, error


def test_no_load_goes_to_another_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with answering(b"{}") as url:
        assert longtail.main(["loadtest", "--url", url, "--out", "r.json"]) == 1
    line = f"longtail loadtest: {url}: POST /recommend answers without items; is Longtail there?\n"
    assert capsys.readouterr().err == line
    assert list(tmp_path.iterdir()) == []
