"""`longtail publish --items`: known items are changed, new ones appear, in services that run."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

import longtail
from model_store.embedded import EmbeddedStore
from model_store.item_changes import ItemState, read_states
from tests.app.conftest import publish_and_activate, serving, settings_for, wait_for
from tests.synthetic_bundle import make_bundle

RECIPE = {"description": "x", "knowledge": {"model": "none"}, "encoding": {"batch_size": 1}}


@pytest.fixture
def workplace(
    tmp_path: Path, store: EmbeddedStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder for bundles and the cache, and the store's address for the command line."""
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    return tmp_path


def publish(workplace: Path, content: str, flag: str = "--items") -> int:
    file = workplace / "items.csv"
    file.write_text(content)
    return longtail.main(["publish", flag, str(file)])


def test_known_items_are_changed_and_new_ones_appear(
    workplace: Path, store: EmbeddedStore, client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration: dict[str, object] = {"recipe": RECIPE, "item_kind": "film"}
    bundle = make_bundle(workplace / "made", configuration=configuration)
    publish_and_activate(bundle, workplace, store.url)
    rows = "i1,1607,false\ni2,,true\nnew 1,1999,\nnew 2,2001,false\n"
    with serving(settings_for(store.url, workplace)) as http:
        assert publish(workplace, f"item_id,year,available\n{rows}") == 0
        assert capsys.readouterr().out.splitlines()[-2:] == [
            "made-1: 2 fresh items",
            "known items: 1 changed, 1 as they were",
        ]
        wait_for(lambda: http.get("/health/ready").json()["fresh_items"] == 2)
        body = {"user_id": "nobody", "k": 1_000, "fields": ["year"]}

        def years() -> dict[str, int]:
            items = http.post("/recommend", json=body).json()["items"]
            return {item["item_id"]: item["fields"]["year"] for item in items}

        wait_for(lambda: "i1" not in years())
        assert years()["new 1"] == 1999
        assert "new 2" not in years()
        assert publish(workplace, "item_id,available\ni1,yes\nnew 2,yes\n", "--fresh-items") == 0
        assert "known items: 2 changed, 0 as they were" in capsys.readouterr().out
        wait_for(lambda: {"i1", "new 2"} <= years().keys())
        assert years()["i1"] == 1607
    assert publish(workplace, f"item_id,year,available\n{rows.replace('false', 'true')}") == 0
    assert "known items: 0 changed, 4 as they were" in capsys.readouterr().out
    assert read_states(["i1", "i2"], client) == {
        "i1": ItemState(available=True, attributes={"year": 1607})
    }


def test_a_version_without_texts_takes_changes_and_names_what_is_new(
    workplace: Path, store: EmbeddedStore, client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(workplace / "made", version="plain-1", with_encoder=False)
    publish_and_activate(bundle, workplace, store.url)
    assert publish(workplace, "item_id,year\ni1,1607\nnew 1,1608\n") == 1
    error = capsys.readouterr().err
    assert "'plain-1' has no text encoder" in error
    assert "1 that it doesn't know, the first is 'new 1'" in error
    assert read_states(["i1"], client) == {}
    assert publish(workplace, "item_id,year\ni1,1607\n") == 0
    assert read_states(["i1"], client) == {"i1": ItemState(attributes={"year": 1607})}


def test_a_value_of_another_kind_is_named_and_nothing_changes(
    workplace: Path, store: EmbeddedStore, client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_and_activate(make_bundle(workplace / "made"), workplace, store.url)
    assert publish(workplace, "item_id,year\ni1,1607\ni2,soon\n") == 1
    assert "item 'i2': year 'soon' is no number" in capsys.readouterr().err
    assert read_states(["i1"], client) == {}


@pytest.mark.parametrize(
    ("recipe", "flags", "reason"),
    [
        ({**RECIPE, "sasrec": {}}, [], "version made-1: its recipe is none of this release"),
        (
            RECIPE,
            ["--generate"],
            "the recipe of version 'made-1' has no language model to describe items",
        ),
    ],
)
def test_what_can_not_be_done_changes_nothing(
    recipe: dict[str, object],
    flags: list[str],
    reason: str,
    workplace: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = make_bundle(workplace / "made", configuration={"recipe": recipe})
    publish_and_activate(bundle, workplace, store.url)
    (workplace / "items.csv").write_text("item_id,year\ni1,1607\nnew,1999\n")
    assert longtail.main(["publish", "--items", str(workplace / "items.csv"), *flags]) == 1
    assert capsys.readouterr().err == f"longtail publish: {reason}\n"
    assert read_states(["i1"], client) == {}


@pytest.mark.parametrize("flag", ["--items", "--fresh-items"])
def test_known_items_alone_are_changed_without_a_recipe_of_this_release(
    flag: str,
    workplace: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = {**RECIPE, "sasrec": {}}
    bundle = make_bundle(workplace / "made", configuration={"recipe": recipe})
    publish_and_activate(bundle, workplace, store.url)
    assert publish(workplace, "item_id,available\ni1,false\n", flag) == 0
    assert "known items: 1 changed, 0 as they were" in capsys.readouterr().out
    assert read_states(["i1"], client) == {"i1": ItemState(available=False)}
