"""Recommendations for all users: as the service answers, and only what is missing is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

import longtail
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.embedded import EmbeddedStore
from model_store.event_rules import EventsInfo
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.synthetic_bundle import make_bundle, make_catalogue
from tests.synthetic_ratings import make_rating_bundle

N_USERS = 12


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made") / "all-1", version="all-1")


def recommend(bundle: Bundle, out: Path, *flags: str) -> pl.DataFrame:
    """What the command leaves in a folder, in its order."""
    command = ["recommend-all", "--bundle", str(bundle.folder), "--out", str(out)]
    assert longtail.main([*command, "--processes", "1", *flags]) == 0
    complete = json.loads((out / "recommendations.json").read_bytes())
    assert [path.name for path in sorted(out.glob("*.parquet"))] == complete["files"]
    return pl.concat([pl.read_parquet(out / name) for name in complete["files"]])


def answers(http: TestClient, user_ids: list[str], **fields: Any) -> Iterator[dict[str, Any]]:
    for user_id in user_ids:
        response = http.post("/recommend", json={"user_id": user_id, "rerank": "never", **fields})
        assert response.status_code == 200, response.text
        yield response.json()


def assert_equal(frame: pl.DataFrame, answered: Iterator[dict[str, Any]]) -> None:
    """Items, ranks and sources are the same; scores but for the order of a sum."""
    users = frame["user_id"].unique(maintain_order=True).to_list()
    for user_id, answer in zip(users, answered, strict=True):
        rows = frame.filter(pl.col("user_id") == user_id)
        assert answer["user_id"] == user_id
        assert rows["item_id"].to_list() == [item["item_id"] for item in answer["items"]]
        assert rows["rank"].to_list() == [item["rank"] for item in answer["items"]]
        assert set(rows["served_by"]) == {answer["served_by"]}
        expected = [item["score"] for item in answer["items"]]
        np.testing.assert_allclose(rows["score"], expected, rtol=1e-4, atol=1e-5)


@contextmanager
def served(bundle: Bundle, folder: Path, store: EmbeddedStore) -> Iterator[TestClient]:
    (folder / "bundles").mkdir()
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def test_every_user_gets_what_the_service_answers(
    bundle: Bundle, store: EmbeddedStore, client: object, tmp_path: Path
) -> None:
    with served(bundle, tmp_path, store) as http:
        for number, (flags, fields) in enumerate(
            (
                ((), {}),
                (("--k", "60"), {"k": 60}),
                (("--k", "3", "--no-exclude-seen"), {"k": 3, "exclude_seen": False}),
            )
        ):
            found = recommend(bundle, tmp_path / f"out-{number}", *flags)
            users = found["user_id"].unique(maintain_order=True).to_list()
            assert users == [f"u{n}" for n in range(1, N_USERS + 1)]
            assert_equal(found, answers(http, users, **fields))


def test_histories_of_a_file_are_read_as_the_services_events(
    store: EmbeddedStore, client: object, tmp_path: Path
) -> None:
    """With dislikes, repeats that the network doesn't read, and unknown items."""
    events = EventsInfo(dislike_weight=0.4)
    made = make_bundle(tmp_path / "events-1", version="events-1", events=events, repeats="first")
    rows = [
        *(("picky", f"i{n}", 1_000 * n, "view") for n in (7, 9, 7, 30)),
        *(("picky", f"i{n}", 1_000 * n, "dislike") for n in (20, 21)),
        *(("plain", f"i{n}", 1_000 * n, "view") for n in (3, 4)),
        ("plain", "unheard-of", 9_000, "view"),
        ("stranger", "unheard-of", 9_000, "view"),
    ]
    lines = [",".join(map(str, row)) for row in rows]
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["user_id,item_id,timestamp,event_type", *lines]))
    with served(made, tmp_path, store) as http:
        names = ("user_id", "item_id", "timestamp", "type")
        body = {"events": [dict(zip(names, row, strict=True)) for row in rows]}
        assert http.post("/events", json=body).status_code == 200
        found = recommend(made, tmp_path / "out", "--interactions", str(file))
        assert_equal(found, answers(http, ["picky", "plain", "stranger"]))
    assert set(found.filter(pl.col("user_id") == "stranger")["served_by"]) == {"popular"}


def test_without_a_bundle_it_is_the_active_version(
    bundle: Bundle,
    store: EmbeddedStore,
    client: object,
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(bundles))
    command = ["recommend-all", "--processes", "1", "--out", str(tmp_path / "out")]
    assert longtail.main(command) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == ("longtail recommend-all: no version is active; name a bundle with --bundle")
    publish_and_activate(bundle, tmp_path, store.url)
    assert longtail.main(command) == 0
    [file] = (tmp_path / "out").glob("*.parquet")
    assert pl.read_parquet(file).equals(recommend(bundle, tmp_path / "named"))


def test_a_direct_bundle_is_served_by_its_name(bundle: Bundle, tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "direct-1") as writer:
        for name in bundle.manifest.files:
            writer.add(name, bundle.folder / name)
        fields = bundle.manifest.model_dump(exclude={"files", "version", "schema_version", "kind"})
        direct = writer.finish(version="direct-1", kind="direct", **fields)
    found = recommend(direct, tmp_path / "out")
    assert set(found["served_by"]) == {"direct"}
    same = recommend(bundle, tmp_path / "other").drop("served_by")
    assert found.drop("served_by").equals(same)


def test_a_bundle_that_predicts_ratings_is_rejected_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rated = make_rating_bundle(tmp_path / "rated-1", catalogue=make_catalogue())
    command = ["recommend-all", "--bundle", str(rated.folder), "--out", str(tmp_path / "out")]
    assert longtail.main(command) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"{rated.folder}: is of kind rating" in line


def test_only_what_is_missing_or_has_changed_is_computed(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"v{user}", f"i{item}", item) for user in range(6) for item in range(user + 1, 9)]
    file, out = tmp_path / "interactions.csv", tmp_path / "out"

    def run(*flags: str) -> tuple[pl.DataFrame, str]:
        lines = [",".join(map(str, row)) for row in rows]
        file.write_text("\n".join(["user_id,item_id,timestamp", *lines]))
        flags = ("--interactions", str(file), "--batch-size", "2", *flags)
        found = recommend(bundle, out, *flags)
        return found, capsys.readouterr().out.splitlines()[-1]

    whole, line = run()
    assert line.startswith("recommended 10 items to 6 users in ")
    first, second, third = sorted(out.glob("*.parquet"))
    assert first.name.startswith("users-000000000-000000001.")
    second.unlink()
    again, line = run()
    assert line.startswith("recommended 10 items to 2 users (4 more were there) in ")
    assert again.equals(whole)
    _, line = run()
    assert line == "unchanged: recommendations for 6 users are there"
    rows.append(("v5", "i40", 99))
    changed, line = run()
    assert line.startswith("recommended 10 items to 2 users (4 more were there) in ")
    assert first.exists()
    assert not third.exists()
    assert changed.filter(pl.col("user_id") != "v5").equals(whole.filter(pl.col("user_id") != "v5"))
    _, line = run("--k", "4")
    assert line.startswith("recommended 4 items to 6 users in ")
    assert not first.exists()


def test_only_its_own_files_are_removed_from_the_folder(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recommend(bundle, out)
    [before] = out.glob("*.parquet")
    ours = [f"users-{7:09}-{9:09}.{before.stem[-16:]}.parquet", f".{before.name}.1-2f.partial"]
    others = ["users-2025.parquet", "users-backup.parquet.bak", "notes.partial"]
    for name in (*ours, *others):
        (out / name).write_bytes(b"")
    command = ["recommend-all", "--bundle", str(bundle.folder), "--processes", "1", "--k", "4"]
    assert longtail.main([*command, "--out", str(out)]) == 0
    assert not before.exists()
    assert not any((out / name).exists() for name in ours)
    assert all((out / name).exists() for name in others)


def test_two_processes_answer_as_one(bundle: Bundle, tmp_path: Path) -> None:
    one = recommend(bundle, tmp_path / "one", "--batch-size", "5")
    two = recommend(bundle, tmp_path / "two", "--batch-size", "5", "--processes", "2")
    assert two.equals(one)
    assert not (tmp_path / "two" / ".sources").exists()


def test_what_cannot_be_used_is_said_in_one_line(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recommend-all", "--bundle", str(bundle.folder), "--out", str(tmp_path / "out")]
    assert longtail.main([*command, "--items", "items.csv"]) == 1
    assert capsys.readouterr().err == ("longtail recommend-all: --items goes with --interactions\n")
    assert longtail.main([*command, "--interactions", "nowhere.csv"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "nowhere.csv" in line
    for k in ("0", "1001", "ten"):
        with pytest.raises(SystemExit):
            longtail.main([*command, "--k", k])
        assert f"{k!r} is no whole number from 1 to 1,000" in capsys.readouterr().err
