"""The examples of the pages are run as they stand, on a small catalogue with MovieLens' numbers."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import longtail
from model_store.embedded import EmbeddedStore
from model_store.id_map import IdMap
from model_store.store import connect
from tests.app.conftest import publish_and_activate, serving, settings_for, wait_for
from tests.app.http.curl_examples import blocks_of, check_contained, examples_of
from tests.contracts.tree import ROOT
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture(scope="module")
def http(store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service of items "1" to "60" and users "190" to "201"."""
    folder = tmp_path_factory.mktemp("service")
    client = connect(store.url)
    client.flushall()
    client.close()
    made = make_catalogue()
    users = {f"{n}": history for n, history in enumerate(made.histories.values(), start=190)}
    ids = IdMap([item_id.removeprefix("i") for item_id in made.ids.ids])
    bundle = make_bundle(folder / "made", catalogue=replace(made, ids=ids, histories=users))
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder, watch_interval_ms=10)) as http:
        yield http


def ids_of(answer: dict[str, list[dict[str, str]]]) -> set[str]:
    return {item["item_id"] for item in answer["items"]}


def test_catalogue_changes(
    http: TestClient,
    store: EmbeddedStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = blocks_of(ROOT / "docs" / "catalogue-changes.md")
    withdraw, ask, come_back, change, filtered = examples_of(blocks)
    withdraw.run(http)
    wait_for(lambda: ids_of(ask.run(http)) == {"7", "12", "21"})
    come_back.run(http)
    wait_for(lambda: "50" in ids_of(http.post("/recommend", json={"user_id": "0", "k": 60}).json()))
    change.run(http)
    wait_for(lambda: _has_items(http, {"genres": {"any": ["opera"]}}))
    filtered.run(http)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(_bundles_of(http)))
    [file] = [block for block in blocks if block.language == "csv"]
    [command] = [block for block in blocks if block.text.startswith("longtail ")]
    [output] = [block for block in blocks if block.language == "text"]
    Path("changes.csv").write_text(file.text)
    assert longtail.main(command.text.split()[1:]) == 0
    assert capsys.readouterr().out.endswith(output.text)
    wait_for(lambda: _has_items(http, {"year": {"any": [1609]}}))


def test_feeds_that_do_not_repeat(http: TestClient) -> None:
    blocks = blocks_of(ROOT / "docs" / "api.md", "Feeds that don't repeat")
    answers = [example.run(http) for example in examples_of(blocks)]
    first, second = map(ids_of, answers)
    assert len(first) == len(second) == 5
    assert not first & second


def test_similar_items_with_filters(http: TestClient) -> None:
    page = ROOT / "docs" / "api.md"
    [similar] = examples_of(blocks_of(page, "Similar items with filters"))
    items = similar.run(http)["items"]
    assert len(items) == 3
    assert all("drama" in item["fields"]["genres"] for item in items)


def test_people(
    http: TestClient,
    store: EmbeddedStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = blocks_of(ROOT / "docs" / "people.md")
    forget, stranger, event, session = examples_of(blocks)
    for example in (forget, stranger, event, session):
        example.run(http)
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(_bundles_of(http)))
    commands = [block.text for block in blocks if block.text.startswith("longtail ")]
    for command in commands:
        assert longtail.main(command.split()[1:]) == 0
    shown = next(block.text for block in blocks if "compared_answers" in block.text)
    _, _, printed = capsys.readouterr().out.partition("\n")
    check_contained(json.loads(shown), json.loads(printed))


NEEDS = ROOT / "docs" / "needs.md"


def test_each_need_of_a_shop_has_an_example() -> None:
    """This file, `test_rules_page` and `test_event_kinds` run those of the sections linked."""
    rows = [line for line in NEEDS.read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 12
    for row in rows:
        links = re.findall(r"\]\(([a-z-]*\.md)?#([a-z-]+)\)", row)
        assert links, row
        for page, anchor in links:
            sections = _sections_of(NEEDS.with_name(page) if page else NEEDS)
            assert "```" in sections[anchor], row


def test_needs_of_a_shop(
    http: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = blocks_of(NEEDS)
    visit, next_views, similar, newsletter = examples_of(blocks)
    visitors = visit.run(http)
    assert not ids_of(visitors) & {"50", "7"}
    assert http.post("/recommend", json={"user_id": "50", "k": 1}).json()["served_by"] == "popular"
    assert not ids_of(next_views.run(http)) & {"50", "12", "20"}
    assert "50" not in ids_of(similar.run(http))
    known, stranger, wrong = newsletter.run(http)["responses"]
    assert ids_of(known) != ids_of(stranger)
    assert wrong["errors"][0]["field"] == "k"

    monkeypatch.chdir(tmp_path)
    for name, language in (("clicks.csv", "csv"), ("shop.toml", "toml")):
        [file] = [block for block in blocks if block.language == language]
        Path(name).write_text(file.text)
    [command] = [block for block in blocks if block.text.startswith("longtail ")]
    [output] = [block for block in blocks if block.language == "text"]
    assert longtail.main(command.text.split()[1:]) == 0
    assert output.text in capsys.readouterr().out
    # The page's recipe can be built with, and has the table of the page on events.
    [table] = [block for block in blocks_of(ROOT / "docs/events.md") if block.language == "toml"]
    [recipe] = [block for block in blocks if block.language == "toml"]
    assert tomllib.loads(recipe.text)["events"] == tomllib.loads(table.text)["events"]


def _sections_of(page: Path) -> dict[str, str]:
    """Text below each heading, by the heading's anchor."""
    found = re.split(r"^##+ ([^\n]+)\n", page.read_text(), flags=re.MULTILINE)[1:]
    anchors = [re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in found[::2]]
    return dict(zip(anchors, found[1::2], strict=True))


def _has_items(http: TestClient, filters: dict[str, object]) -> bool:
    body = {"user_id": "0", "filters": filters}
    return bool(http.post("/recommend", json=body).json()["items"])


def _bundles_of(http: TestClient) -> Path:
    folder: Path = http.app.state.service.settings.bundles_dir  # type: ignore[attr-defined]
    return folder
