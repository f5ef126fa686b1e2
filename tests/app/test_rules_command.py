"""`longtail rules`, on the store and through a service."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import longtail
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import TOKEN, publish_and_activate, settings_for
from tests.app.listening import listening

RULES: list[dict[str, Any]] = [
    {"name": "sold out", "action": "hide", "item_ids": ["i1", "i2"]},
    {"name": "more drama", "action": "boost", "filters": {"genres": {"any": ["drama"]}},
     "factor": 2.0, "from": "2026-12-01T00:00:00Z", "context": {"page": "home"}},
    {"name": "old", "action": "bury", "item_ids": ["i5"], "filters": {"year": {"lte": 1985}},
     "factor": 3.0, "until": "2036-12-01T00:00:00Z"},
    {"name": "premiere", "action": "pin", "item_id": "i9", "rank": 1, "arms": ["b"]},
    {"name": "two", "action": "cap", "attribute": "genres", "at_most": 2},
]  # fmt: skip
SHOWN = """\
sold out hide 2 items always
more drama boost {"genres": {"any": ["drama"]}}, by 2 from 2026-12-01T00:00:00Z, page=home
old bury {"year": {"lte": 1985.0}} or 1 items, by 3 until 2036-12-01T00:00:00Z
premiere pin i9 at rank 1 arms b
two cap at most 2 of each genres always"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def url(store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path) -> Iterator[str]:
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    with listening(settings_for(store.url, folder)) as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture(autouse=True)
def environment(store: EmbeddedStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", TOKEN)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = longtail.main(["rules", *words])
    printed = capsys.readouterr()
    return status, printed.out if status == 0 else printed.err


def write(path: Path, document: object) -> str:
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("through_service", [True, False])
def test_rules_from_a_file_to_a_rollback(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], through_service: bool
) -> None:
    where = ("--url", url) if through_service else ()

    def run(*words: str) -> str:
        status, text = command(capsys, *words, *where)
        assert status == 0, text
        return text

    run("apply", write(tmp_path / "none.json", {"rules": []}))
    text = run("apply", write(tmp_path / "rules.json", {"rules": RULES}))
    assert text.startswith("in force: 5 rules: sold out, more drama, old, premiere, two (revision ")
    assert "\nworkers that follow them: 1\n" in text
    shown = run("show").splitlines()
    assert shown[1].split() == ["NAME", "ACTION", "WHAT", "WHEN"]
    assert [re.sub(r"\s+", " ", line).strip() for line in shown[2:7]] == SHOWN.splitlines()
    # What is shown can be applied again.
    written = run("show", "--json")
    document = json.loads(written)
    assert document["rules"] == RULES
    (tmp_path / "again.json").write_text(written)
    assert f"(revision {document['revision']}," in run("apply", str(tmp_path / "again.json"))
    text = run("rollback")
    assert text.startswith("in force: no rules")
    assert run("show").splitlines()[0].startswith("no rules")


def test_rules_are_read_from_standard_input(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = io.BytesIO(json.dumps({"rules": RULES[:1]}).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    status, text = command(capsys, "apply", "-")
    assert (status, text.split(" (")[0]) == (0, "in force: 1 rule: sold out")


@pytest.mark.parametrize("through_service", [True, False])
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({**RULES[0], "item_ids": ["i1", "nothing"]},
         "rules[0].item_ids[1]: rule 'sold out': unknown item (got \"nothing\")"),
        ({**RULES[4], "attribute": "color"},
         "rules[0].attribute: rule 'two': unknown attribute; known are title (text), year"),
    ],
)  # fmt: skip
def test_what_the_catalogue_lacks_is_one_line(
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    through_service: bool,
    rule: dict[str, Any],
    said: str,
) -> None:
    where = ("--url", url) if through_service else ()
    path = write(tmp_path / "rules.json", {"rules": [rule]})
    status, text = command(capsys, "apply", path, *where)
    assert status == 1
    assert said in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON: Expecting property name"),
        ('{"rules": [{"name": "x", "action": "hide"}]}', "rules.0.hide: filters or item_ids is"),
        ('{"rules": {}}', "rules: Input should be a valid list"),
        ("[]", "the file: Input should be a valid dictionary"),
        ('{"rules": [], "rule": []}', "rule: Extra inputs are not permitted"),
        pytest.param(" " * (1 << 21) + "{}", "2,097,154 bytes are more than 2,097,152", id="large"),
    ],
)
def test_a_file_that_holds_no_rules_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_text(content)
    status, text = command(capsys, "apply", str(path))
    assert status == 1
    assert f"{path}: {said}" in text
    assert len(text.splitlines()) == 1


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = command(capsys, "apply", "/nowhere/rules.json")
    assert (status, "/nowhere/rules.json: No such file or directory" in text) == (1, True)


def test_without_an_active_version_there_is_no_catalogue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedStore(tmp_path / "own") as own:
        monkeypatch.setenv("LONGTAIL_REDIS_URL", own.url)
        status, text = command(capsys, "apply", write(tmp_path / "r.json", {"rules": RULES}))
        assert (status, "no version is active" in text) == (1, True)
        assert command(capsys, "show") == (0, "no rules\n")
        assert "there are no earlier rules" in command(capsys, "rollback")[1]
