"""Recommendations from the store: events since the build are in, forgotten users are out."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import redis

import longtail
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.people import forget
from offline.recommend_all import live, slot_files
from offline.recommend_all.live import LiveHistories
from offline.recommend_all.slot_files import SlotFiles
from tests.app.conftest import publish_and_activate
from tests.offline.recommend_all.test_recommend_all import answers, assert_equal, served
from tests.synthetic_bundle import make_bundle

N_USERS = 12


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made") / "live-1", version="live-1")


@pytest.fixture
def at_store(
    store: EmbeddedStore, client: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))


def recommend(out: Path, *flags: str) -> pl.DataFrame:
    command = ["recommend-all", "--live", "--processes", "1", "--out", str(out), *flags]
    assert longtail.main(command) == 0
    complete = json.loads((out / "recommendations.json").read_bytes())
    found = pl.concat([pl.read_parquet(out / name) for name in complete["files"]])
    assert complete["users"] == found["user_id"].n_unique()
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".lock") == sorted(
        [".lock", "recommendations.json", *complete["files"]]
    )
    return found


@pytest.mark.usefixtures("at_store")
def test_every_user_of_the_store_gets_what_the_service_answers(
    bundle: Bundle, store: EmbeddedStore, client: redis.Redis, tmp_path: Path
) -> None:
    strange = "née:{x}\n"
    events = [
        *({"user_id": "u3", "item_id": f"i{n}", "timestamp": 9e9 + n} for n in (5, 6)),
        *({"user_id": strange, "item_id": f"i{n}", "timestamp": 9e8 + n} for n in (7, 8)),
        {"user_id": "only-unknown", "item_id": "unheard-of"},
        {"user_id": "gone", "item_id": "i4"},
    ]
    with served(bundle, tmp_path, store) as http:
        assert http.post("/events", json={"events": events}).status_code == 200
        for user_id in ("gone", "u5"):
            forget(user_id, client)
        found = recommend(tmp_path / "out", "--batch-size", "3")
        users = found["user_id"].unique(maintain_order=True).to_list()
        expected = {f"u{n}" for n in range(1, N_USERS + 1)} - {"u5"} | {strange, "only-unknown"}
        assert set(users) == expected
        assert users == sorted(users, key=lambda one: (keys.slot_of_user(one), one))
        assert_equal(found, answers(http, users))


@pytest.mark.usefixtures("at_store")
def test_a_second_run_computes_where_something_happened(
    bundle: Bundle, store: EmbeddedStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with served(bundle, tmp_path, store) as http:
        first = recommend(out, "--batch-size", "4")
        capsys.readouterr()
        assert recommend(out, "--batch-size", "4").equals(first)
        assert "unchanged: recommendations for 12 users" in capsys.readouterr().out
        before = set(out.glob("*.parquet"))
        event = {"user_id": "newcomer", "item_id": "i4"}
        assert http.post("/events", json={"events": [event]}).status_code == 200
        found = recommend(out, "--batch-size", "4")
    others = found.filter(pl.col("user_id") != "newcomer")
    assert others.equals(first)
    assert 0 < len(before - set(out.glob("*.parquet"))) < len(before)


@pytest.mark.usefixtures("at_store")
def test_who_is_forgotten_while_it_runs_is_not_in_the_files(
    bundle: Bundle,
    store: EmbeddedStore,
    client: redis.Redis,
    bundles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish_and_activate(bundle, tmp_path, store.url)
    for user_id in ("broken", "broken too"):
        client.lpush(keys.events_key(user_id), b"of version 0.1")
    forget("back", client)
    client.copy(keys.user_key("live-1", "u1"), keys.user_key("live-1", "back"))
    users = LiveHistories(client, bundle, "live-1", tmp_path / "ids")
    forget("u2", client)
    [(_, frame)] = users.frames(100)
    expected = {f"u{n}" for n in range(1, N_USERS + 1)} - {"u2"} | {"back"}
    assert set(frame["user_id"]) == expected
    frame.select("user_id").write_parquet(tmp_path / "some.parquet")
    for user_id in ("u7", "back"):
        forget(user_id, client)
    assert users.finish([tmp_path / "some.parquet"]) == 2
    left = set(pl.read_parquet(tmp_path / "some.parquet")["user_id"])
    assert left == set(frame["user_id"]) - {"u7", "back"}
    assert "2 users left out, whose history in the store can't be read: user 'broken" in (
        capsys.readouterr().err
    )


@pytest.mark.usefixtures("at_store")
def test_without_histories_in_the_store_it_says_so(
    bundle: Bundle, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recommend-all", "--live", "--out", str(tmp_path / "out")]
    assert longtail.main([*command, "--bundle", str(bundle.folder)]) == 1
    assert f"{bundle.folder}: is not published" in capsys.readouterr().err
    assert longtail.main([*command, "--interactions", "some.csv"]) == 1
    assert "--live: histories come from the store" in capsys.readouterr().err


def test_ids_come_once_and_in_groups_of_which_a_newcomer_changes_at_most_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_files, "_IDS_IN_MEMORY", 50)
    names = [f"user {number}" for number in range(300)]

    def groups(folder: Path, ids: list[str]) -> dict[str, list[str]]:
        files = SlotFiles(folder)
        for user_id in [*ids, *ids[:100]]:
            files.add(user_id)
        assert files.finish() == len(ids)
        return dict(files.groups(20))

    before = groups(tmp_path / "before", names)
    after = groups(tmp_path / "after", [*reversed(names), "newcomer"])
    assert sorted(one for group in before.values() for one in group) == sorted(names)
    assert max(map(len, before.values())) <= 20
    changed = [name for name in after if after[name] != before.get(name)]
    assert len(changed) <= 2
    assert "newcomer" in after[changed[0]] + after[changed[-1]]
    assert next(iter(before)) == "slots-00000-01023-0000"


@pytest.mark.parametrize("user_id", ["u1", "a:u:b", "{x}", "}", "v:live-1:u:", "née\n"])
def test_a_users_keys_tell_whose_they_are(user_id: str) -> None:
    for key in (keys.events_key(user_id), keys.user_key("live-1", user_id)):
        assert keys.user_of(key, "live-1") == user_id
        assert keys.user_of(keys.in_cluster(key)[0], "live-1") == user_id
    for other in (keys.user_key("live-2", user_id), keys.served_key(user_id)):
        assert keys.user_of(other, "live-1") is None
        assert keys.user_of(keys.in_cluster(other)[0], "live-1") is None
    assert live.keys.user_of(keys.vectors_key("live-1"), "live-1") is None
