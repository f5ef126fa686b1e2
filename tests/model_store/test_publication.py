from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import redis

from model_store import histories, keys
from model_store.bundle import Bundle
from model_store.bundle_writer import copy_bundle
from model_store.codecs import decode_user, decode_vector
from model_store.embedded import EmbeddedStore
from model_store.errors import BundleError, BundleUnavailable, StoreAway
from model_store.forgotten import note_forgotten
from model_store.placing import Report, next_version
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from model_store.store_url import StoreUrl
from offline import publish_users
from offline.engine.local import LocalEngine
from tests.damage import restate
from tests.synthetic_bundle import make_bundle, make_catalogue


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "build" / "bundle", version="made-1")


def test_publishing_fills_folder_store_and_registry(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    made = make_catalogue()
    told: list[tuple[str, int, int]] = []
    record = publish(source, bundles, client, lambda *progress: told.append(progress))
    assert Bundle.open(bundles / "made-1").version == record.version == "made-1"
    for user_id, items in made.histories.items():
        blob = client.get(keys.user_key("made-1", user_id))
        np.testing.assert_array_equal(decode_user(blob).items, items)  # type: ignore[arg-type]
    assert client.exists(keys.vectors_key("made-1")) == 0
    assert Registry(client).get("made-1") == record
    assert list(record.attributes or ()) == list(made.attributes.names)
    assert record.attributes == {
        "title": "text", "year": "number", "genres": "list"
    }  # fmt: skip
    assert Registry(client).active() is None
    assert told[-1] == ("users", 12, 12)


def test_a_bundles_folder_that_is_none_is_named(
    source: Bundle, tmp_path: Path, client: redis.Redis
) -> None:
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(BundleUnavailable) as caught:
        publish(source, place, client)
    assert str(caught.value) == f"LONGTAIL_BUNDLES_DIR {str(place)!r}: Not a directory"
    assert Registry(client).records() == []


def test_several_processes_write_what_one_writes(
    source: Bundle,
    bundles: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without those who were forgotten before, and who are, or are again, while it runs."""
    monkeypatch.setattr(publish_users, "_MIN_USERS", 5)
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    for user_id in ("u3", "u7"):
        note_forgotten(user_id, client)
    publish(source, bundles, client)

    def blobs() -> dict[bytes, bytes]:
        found = {name: client.get(name) for name in client.scan_iter(keys.user_key("made-1", "*"))}
        client.delete(*found)
        return found  # type: ignore[return-value]

    alone = blobs()
    assert len(alone) == 10
    told: list[tuple[str, int, int]] = []

    def write(bundle: Bundle, tell: Report) -> None:
        publish_users.write_on(LocalEngine(2), StoreUrl.parse(store.url), bundle, tell)
        # Forgotten before, and back with events that the bundle has: in the store until now.
        client.copy(keys.user_key("made-1", "u1"), keys.user_key("made-1", "u7"))
        for user_id in ("u5", "u7"):
            note_forgotten(user_id, client)

    publish(source, bundles, client, lambda *progress: told.append(progress), write=write)
    del alone[keys.user_key("made-1", "u5").encode()]
    assert blobs() == alone
    assert told[-1] == ("users", 12, 12)
    assert [*(tmp_path / "cache" / "publish").iterdir()] == []


def test_processes_write_under_the_version_that_a_bundle_is_published_as(
    source: Bundle,
    store: EmbeddedStore,
    client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One at a URL may have another than the folder here. All is checked once, not by part."""
    monkeypatch.setattr(publish_users, "_MIN_USERS", 5)
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    renamed = Bundle(source.folder, source.manifest.model_copy(update={"version": "other-2"}))
    url = StoreUrl.parse(store.url)
    check = mock.Mock(wraps=histories.check_histories)
    monkeypatch.setattr(histories, "check_histories", check)
    publish_users.write_on(LocalEngine(1), url, renamed, lambda *_: None)
    assert check.call_count == 1
    expected = {keys.user_key("other-2", user_id).encode() for user_id, _ in source.users()}
    assert set(client.scan_iter("*")) == expected


def test_the_vectors_of_the_whole_catalogue_are_written_where_somebody_asks_for_them(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    made = make_catalogue()
    told: list[tuple[str, int, int]] = []
    publish(source, bundles, client, lambda *progress: told.append(progress), vectors=True)
    blobs = client.hgetall(keys.vectors_key("made-1"))
    assert {len(blob) for blob in blobs.values()} == {2 * 6}
    for index, item_id in enumerate(made.ids.ids, start=1):
        vector = decode_vector(blobs[item_id.encode()], 6)
        np.testing.assert_allclose(vector, made.knowledge[index], rtol=2**-11)
    assert told[-1] == ("vectors", 60, 60)


def test_publishing_the_same_bundle_again_changes_nothing(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    publish(source, bundles, client)
    assert publish(source, bundles, client).version == "made-1"
    assert len(Registry(client).records()) == 1


def test_other_weights_of_a_reranker_are_another_version(
    tmp_path: Path, bundles: Path, client: redis.Redis
) -> None:
    first = make_bundle(tmp_path / "first", with_reranker=True)
    publish(first, bundles, client)
    assert first.manifest.reranker is not None
    path = first.folder / "manifest.json"
    document = json.loads(path.read_bytes())
    document["reranker"]["weighting"]["alpha_1"] = 0.2
    path.write_text(json.dumps(document))
    record = publish(Bundle.open(first.folder), bundles, client)
    assert record.version != first.version
    assert len(Registry(client).records()) == 2


@pytest.mark.parametrize("broken", ["no manifest", "another schema", "a damaged copy"])
def test_a_broken_folder_does_not_keep_others_from_being_published(
    source: Bundle, bundles: Path, client: redis.Redis, broken: str
) -> None:
    old = copy_bundle(source, bundles / "a-broken-one", version="a-broken-one").folder
    if broken == "no manifest":
        (old / "manifest.json").write_bytes(b"nonsense")
    elif broken == "another schema":
        (old / "manifest.json").write_text('{"schema_version": 99}')
    else:
        (old / "item_table.npy").write_bytes(b"")
    record = publish(source, bundles, client)
    assert record.version == "made-1"
    assert Bundle.open(bundles / "made-1")


def test_a_published_bundle_does_not_change_with_the_build(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    publish(source, bundles, client)
    for name in source.manifest.files:
        with (source.folder / name).open("r+b") as file:
            file.truncate(0)
    assert Bundle.open(bundles / "made-1").golden


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("user_items.npy", lambda items: items + 60),
        ("user_items.npy", lambda items: items * 0),
        ("user_items.npy", lambda items: items.astype(np.int64)),
        ("user_offsets.npy", lambda offsets: offsets[::-1].copy()),
        ("user_offsets.npy", lambda offsets: offsets + 1),
        ("user_offsets.npy", lambda offsets: offsets[:-1]),
        ("user_timestamps.npy", lambda times: times[:-1]),
        ("user_timestamps.npy", lambda times: times * np.nan),
    ],
)
def test_damaged_histories_are_found_before_anything_is_written(
    source: Bundle,
    bundles: Path,
    client: redis.Redis,
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    np.save(source.folder / name, change(np.load(source.folder / name)))
    restate(source.folder)
    with pytest.raises(BundleError, match=r"users'|user_"):
        publish(Bundle.open(source.folder), bundles, client)
    assert list(bundles.iterdir()) == []
    assert client.dbsize() == 0


def test_another_bundle_of_the_same_version_gets_the_next_free_one(
    source: Bundle, bundles: Path, tmp_path: Path, client: redis.Redis
) -> None:
    publish(source, bundles, client)
    other = make_bundle(
        tmp_path / "other", version="made-1", catalogue=make_catalogue(n_items=40, seed=2)
    )
    record = publish(other, bundles, client)
    assert record.version not in {"made-1", ""}
    assert Bundle.open(bundles / record.version).manifest.n_items == 40
    assert {r.version for r in Registry(client).records()} == {"made-1", record.version}


def test_a_publication_that_broke_off_is_finished_by_the_next(
    source: Bundle, bundles: Path, client: redis.Redis
) -> None:
    with pytest.raises(StoreAway):
        publish(source, bundles, connect("redis://127.0.0.1:1/0", timeout_s=0.2))
    assert Registry(client).records() == []
    assert publish(source, bundles, client).version == "made-1"


def test_versions_count_up_within_a_day(tmp_path: Path) -> None:
    day = date(2026, 11, 21)
    assert next_version(tmp_path, day) == "2026-11-21-1"
    (tmp_path / "2026-11-21-1").mkdir()
    assert next_version(tmp_path, day) == "2026-11-21-2"
