"""The examples of the pages are run as they stand, on a small catalogue with MovieLens' numbers."""

from __future__ import annotations

import json
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


def _has_items(http: TestClient, filters: dict[str, object]) -> bool:
    body = {"user_id": "0", "filters": filters}
    return bool(http.post("/recommend", json=body).json()["items"])


def _bundles_of(http: TestClient) -> Path:
    folder: Path = http.app.state.service.settings.bundles_dir  # type: ignore[attr-defined]
    return folder
