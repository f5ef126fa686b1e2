"""The Python examples of the pages run as they stand, against a running service."""

from __future__ import annotations

import pytest

from tests.app.http.curl_examples import blocks_of
from tests.clients.conftest import RunningService
from tests.contracts.tree import ROOT

URL = "http://127.0.0.1:8000"
EXAMPLES = [
    (page, number, block.text)
    for page in ("README.md", "docs/clients.md", "clients/python/README.md")
    for number, block in enumerate(blocks_of(ROOT / page))
    if block.language == "python"
]


def test_each_page_has_examples() -> None:
    assert len({page for page, _, _ in EXAMPLES}) == 3
    assert all(URL in text for _, _, text in EXAMPLES)


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page, _, text in EXAMPLES],
    ids=[f"{page}-{number}" for page, number, _ in EXAMPLES],
)  # fmt: skip
def test_an_example_runs(
    service: RunningService, capsys: pytest.CaptureFixture[str], page: str, text: str
) -> None:
    exec(compile(text.replace(URL, service.url), page, "exec"), {})  # noqa: S102 - our own pages
    printed = capsys.readouterr().out
    assert bool(printed) is ("print(" in text)
    assert "no recommendations now" not in printed


def test_the_readmes_examples_have_five_lines() -> None:
    for page, _, text in EXAMPLES:
        if page == "README.md":
            assert len([line for line in text.splitlines() if line.strip()]) <= 5
