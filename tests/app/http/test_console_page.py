"""The console's files: all served, all packaged, and nothing that its policy would block."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "app" / "console" / "static"
FILES = [path for path in sorted(STATIC.rglob("*")) if path.is_file()]
SERVED = [path for path in FILES if path.suffix and path.name != "index.html"]


def test_the_page_needs_no_token_and_may_load_from_here_only(http: TestClient) -> None:
    response = http.get("/console")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'" in response.headers["content-security-policy"]
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    assert "unsafe" not in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
def test_each_file_is_served_and_asked_about_again(http: TestClient, path: Path) -> None:
    url = f"/console/{path.relative_to(STATIC)}"
    response = http.get(url)
    assert response.content == path.read_bytes()
    assert response.headers["cache-control"] == "no-cache"
    kind = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[path.suffix]
    assert response.headers["content-type"].partition(";")[0] == kind
    again = http.get(url, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_and_its_modules_name_files_that_exist() -> None:
    page = (STATIC / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) == 5
    assert all((STATIC / link.removeprefix("console/")).is_file() for link in links)
    imported = {
        (path.parent / name).resolve()
        for path in STATIC.glob("*.js")
        for name in re.findall(r'from "([^"]+)"', path.read_text())
    }
    assert all(path.is_file() for path in imported)
    # No module is left that nothing uses.
    assert imported | {STATIC / "console.js"} >= set(STATIC.glob("*.js"))


def test_the_page_has_nothing_inline(http: TestClient) -> None:
    page = http.get("/console").text
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page)
    for path in STATIC.glob("*.js"):
        assert not re.search(r"\sstyle=|innerHTML|\beval\(|https?://", path.read_text()), path.name


@pytest.mark.parametrize(
    "path", ["__init__.py", "..%2f__init__.py", ".hidden", "vendor/LICENSE-htm", "vendor", "x.js"]
)
def test_nothing_else_is_served(http: TestClient, path: str) -> None:
    assert http.get(f"/console/{path}").status_code == 404


def test_the_files_are_in_what_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = setuptools["package-data"]["app"]
    packaged = {path for pattern in patterns for path in (ROOT / "app").glob(pattern)}
    assert set(FILES) <= packaged
