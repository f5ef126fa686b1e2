"""The curl commands of a page of the documentation, run against a service, and their answers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.testclient import TestClient

from tests.app.conftest import TOKEN

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code: what it is in, and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Example:
    """A call, and the part of its answer that the page shows, if it does."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None
    shown: Any

    def run(self, http: TestClient) -> Any:
        """Send it; its answer, which has what the page shows."""
        response = http.request(self.method, self.path, headers=self.headers, content=self.body)
        assert response.status_code == 200, (self, response.text)
        answer = response.json()
        if self.shown is not None:
            check_contained(self.shown, answer)
        return answer


def blocks_of(page: Path, section: str = "") -> list[Block]:
    """The blocks of a page, or of one of its sections."""
    text = page.read_text()
    if section:
        _, _, text = text.partition(f"\n## {section}\n")
        text = text.partition("\n## ")[0]
    return [Block(*found) for found in BLOCK.findall(text)]


def examples_of(blocks: list[Block]) -> Iterator[Example]:
    """The curl commands, each with the block of JSON that follows it."""
    for place, block in enumerate(blocks):
        if not block.text.startswith("curl "):
            continue
        following = blocks[place + 1] if place + 1 < len(blocks) else None
        shown = following.text if following and following.language == "json" else None
        yield _read(block.text, None if shown is None else json.loads(shown))


def _read(command: str, shown: Any) -> Example:
    words = shlex.split(command.replace("\\\n", "").replace("$LONGTAIL_ADMIN_TOKEN", TOKEN))[1:]
    options: dict[str, str] = {}
    data: list[str] = []
    url = ""
    while words:
        word = words.pop(0)
        if word in ("-d", "--data-urlencode"):
            data.append(words.pop(0))
        elif word in ("-X", "-H"):
            options[word] = words.pop(0)
        elif word == "-G":
            options[word] = ""
        else:
            assert not url, (word, command)
            url = word
    name, _, value = options.get("-H", "").partition(": ")
    parameters = ""
    if "-G" in options:
        parameters = "?" + urlencode([one.partition("=")[::2] for one in data])
        data = []
    body = data[0] if data else None
    return Example(
        method=options.get("-X", "GET" if body is None else "POST"),
        path=url.removeprefix("http://127.0.0.1:8000") + parameters,
        headers={name: value} if name else {},
        body=body,
        shown=shown,
    )


def check_contained(shown: Any, answer: Any) -> None:
    """Check that an answer has all that is shown of it; of a list each entry, in order."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            check_contained(value, answer[name])
    elif isinstance(shown, list):
        assert len(shown) == len(answer)
        for one, other in zip(shown, answer, strict=True):
            check_contained(one, other)
    else:
        assert shown == answer
