"""The TypeScript client: its types are those of the API, and it does what the Python one does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.app.conftest import TOKEN
from tests.app.http.curl_examples import blocks_of
from tests.clients import public_api
from tests.clients.conftest import ODD_ID, RunningService
from tests.contracts.tree import ROOT

FOLDER = ROOT / "clients" / "typescript"
MODULES = FOLDER / "node_modules"
MIN_NODE = (20, 3)
URL = "http://127.0.0.1:8000"
EXAMPLES = [
    (page, number, block.text)
    for page in ("README.md", "docs/clients.md", "clients/typescript/README.md")
    for number, block in enumerate(blocks_of(ROOT / page))
    if block.language == "ts"
]


def reason_to_skip() -> str:
    """Why nothing can be built here; empty where it can."""
    node = shutil.which("node")
    if node is None:
        return "there is no node"
    found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < MIN_NODE:
        return f"node is {found.strip()}, older than 20.3"
    return "" if MODULES.is_dir() else "`make typescript` has not installed the compiler"


needs_node = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip())


def node(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", *arguments],
        cwd=FOLDER,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def built() -> None:
    """The compiled client and its tests; nothing of an earlier build is left."""
    shutil.rmtree(FOLDER / "dist", ignore_errors=True)
    done = node(str(MODULES / "typescript/bin/tsc"))
    assert done.returncode == 0, done.stdout


def test_the_openapi_file_is_current(service: RunningService) -> None:
    found = public_api.as_text(public_api.public_part(service.document))
    assert public_api.FILE.read_text() == found, "python -m tests.clients.public_api writes it"


def test_the_client_has_every_call() -> None:
    source = (FOLDER / "src" / "client.ts").read_text()
    paths = json.loads(public_api.FILE.read_text())["paths"]
    assert len(paths) == 9
    missing = [path for path in paths if f"{path.partition('{')[0]}" not in source]
    assert missing == []


def test_it_depends_on_nothing() -> None:
    assert "dependencies" not in json.loads((FOLDER / "package.json").read_text())


@needs_node
def test_the_types_are_generated_from_the_openapi_file() -> None:
    done = node(str(MODULES / "openapi-typescript/bin/cli.js"), str(public_api.FILE))
    assert done.returncode == 0, done.stderr
    assert (FOLDER / "src" / "schema.ts").read_text() == done.stdout, "npm run generate writes it"


@needs_node
@pytest.mark.usefixtures("built")
def test_its_own_tests_pass(service: RunningService) -> None:
    tests = sorted(map(str, (FOLDER / "dist" / "test").glob("*.test.js")))
    assert len(tests) == 2
    variables = {"SERVICE_URL": service.url, "ADMIN_TOKEN": TOKEN, "ODD_ID": ODD_ID}
    done = node("--test", "--test-reporter=tap", *tests, **variables)
    assert done.returncode == 0, done.stdout[-5_000:]
    found = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= 30
    assert "\n# skipped 0\n" in done.stdout


def test_each_page_has_examples() -> None:
    assert len({page for page, _, _ in EXAMPLES}) == 3
    for page, _, text in EXAMPLES:
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 5 or page != "README.md"


@needs_node
@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "text",
    [text for _, _, text in EXAMPLES],
    ids=[f"{page}-{number}" for page, number, _ in EXAMPLES],
)
def test_an_example_runs(service: RunningService, text: str) -> None:
    """Beside the package, which may name itself in imports."""
    example = FOLDER / "dist" / "example.mjs"
    example.write_text(text.replace(URL, service.url))
    done = node(str(example))
    assert done.returncode == 0, done.stderr
    assert done.stdout
