"""Comparisons by a service and by the command line, on a real store with real models."""

from __future__ import annotations

import argparse
import json
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from app.comparison import comparer as comparer_module
from app.comparison.report import Comparison
from longtail import build_parser, main
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import (
    AS_ADMIN,
    TOKEN,
    publish_and_activate,
    service_of,
    serving,
    settings_for,
    wait_for,
)
from tests.app.listening import listening
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

USERS = [f"u{number}" for number in range(1, 13)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparing")
    (folder / "bundles").mkdir()
    return folder


@pytest.fixture(scope="module")
def http(store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path) -> Iterator[TestClient]:
    """A service at made-1; made-2 is published with a fresh item."""
    with connect(store.url) as client:
        client.flushall()
        publish_and_activate(synthetic_bundle, folder, store.url)
        other = make_catalogue(seed=8)
        bundle = make_bundle(folder / "made-2", version="made-2", catalogue=other)
        publish(bundle, folder / "bundles", client)
        new = FreshItem("new film", other.knowledge[3], {"title": "New Film", "year": 2026})
        publish_fresh([new], client, encoder="made")
        with serving(settings_for(store.url, folder)) as http:
            yield http


def compare(http: TestClient, **parameters: object) -> Any:
    asked = {"a": "made-1", "b": "made-2", **parameters}
    return http.get("/admin/compare", params=asked, headers=AS_ADMIN)


def timeless(comparison: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between two measurements."""
    return {k: v for k, v in comparison.items() if k not in ("latency_ms", "source")}


def test_a_shadows_report_is_the_one_computed_from_both_bundles(
    http: TestClient, folder: Path, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    body = {"share": 100}
    assert http.post("/admin/models/made-2/shadow", headers=AS_ADMIN, json=body).status_code == 200
    with connect(store.url) as client:
        for n, user in enumerate(USERS, start=1):
            http.post("/recommend", json={"user_id": user})
            key = keys.answer_pairs_key("made-1", "made-2")
            wait_for(lambda n=n, key=key: client.llen(key) == n)
    shadowed = compare(http, source="shadowed").json()
    assert (shadowed["answers"], shadowed["source"]) == (12, "shadowed")
    assert 0 < shadowed["segments"]["all"]["overlap"] < 1
    assert shadowed["segments"]["head"]["answers"] > 0
    assert shadowed["segments"]["tail"]["answers"] > 0
    assert len(shadowed["changed"]) == 10
    body = {"share": 0}
    http.post("/admin/models/made-2/shadow", headers=AS_ADMIN, json=body)
    wait_for(lambda: service_of(http).models.loaded == ("made-1",))

    # By another process, which has the bundles and the store, and asks no service.
    monkeypatch.setenv("LONGTAIL_REDIS_URL", str(store.url))
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(folder / "bundles"))
    monkeypatch.setenv("LONGTAIL_STORE_DIR", str(folder / "other journals"))
    assert main(["models", "compare", "made-1", "made-2", "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["source"] == "replayed"
    assert timeless(replayed) == timeless(shadowed)
    # And by the service, which loads made-2 for it and lets it go.
    assert timeless(compare(http).json()) == timeless(shadowed)
    assert service_of(http).models.loaded == ("made-1",)
    # The last answers alone.
    assert compare(http, source="shadowed", users=3).json()["answers"] == 3


def test_both_versions_are_asked_about_some_of_the_users(
    http: TestClient, catalogue: Catalogue
) -> None:
    found = compare(http, users=5, k=3).json()
    comparison = Comparison.model_validate(found)
    assert comparison.answers == 5
    assert all(len(one.a) == len(one.b) == 3 for one in comparison.changed)
    # The fifth with the shortest histories are the tail.
    lengths = sorted(len(history) for history in catalogue.histories.values())
    assert comparison.tail_interactions == lengths[(len(lengths) - 1) // 5]
    assert comparison.age_attribute == "year"
    for one in comparison.changed:
        answer = http.post("/recommend", json={"user_id": one.user_id, "k": 3}).json()
        assert one.a == [item["item_id"] for item in answer["items"]]
    document = http.get("/openapi.json").json()
    schema = document["paths"]["/admin/compare"]["get"]["responses"]["200"]["content"]
    declared = {**schema["application/json"]["schema"], "components": document["components"]}
    Draft202012Validator(declared).validate(found)
    turned = compare(http, a="made-2", b="made-1", users=5, k=3).json()
    for measure in ("overlap", "rank_correlation", "rank_biased_overlap"):
        assert turned["segments"]["all"][measure] == found["segments"]["all"][measure]


def test_a_page_comes_instead_where_it_is_asked_for(http: TestClient) -> None:
    page = compare(http, format="html", users=2)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert "made-1 and made-2 compared" in page.text
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text


def test_what_makes_no_sense_is_rejected(http: TestClient, folder: Path) -> None:
    for parameters, status, said in (
        ({"b": "made-1"}, 422, "b: is the version that it is to be compared with"),
        ({"b": "nothing"}, 404, "'nothing' is not published"),
        ({"users": 0}, 422, "users: Input should be greater than"),
        ({"k": 101}, 422, "k: Input should be less than"),
        ({"source": "guessed"}, 422, "source: Input should be"),
        ({"share": 3}, 422, "share: is no query parameter"),
    ):
        answer = compare(http, **parameters)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
    assert http.get("/admin/compare?a=made-1&b=made-2").status_code == 401
    table = folder / "bundles" / "made-2" / "item_table.npy"
    content = table.read_bytes()
    table.write_bytes(content[:-4] + b"\x00\x00\x80\x7f")
    answer = compare(http)
    table.write_bytes(content)
    assert answer.status_code == 424
    assert "the running version stays" in answer.json()["detail"]
    assert compare(http, users=1).status_code == 200


def test_there_is_one_comparison_at_a_time(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    load_version = comparer_module.load_version

    def slowly(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return load_version(*given)

    monkeypatch.setattr(comparer_module, "load_version", slowly)
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(compare(http, users=1)))
    first.start()
    assert begun.wait(60)
    rejected = compare(http)
    # Requests are answered meanwhile.
    assert http.post("/recommend", json={"user_id": "u1"}).status_code == 200
    go_on.set()
    first.join()
    assert rejected.status_code == 409
    assert "another comparison is under way" in rejected.json()["detail"]
    assert answers[0].status_code == 200


def test_a_version_that_was_loaded_for_a_comparison_is_let_go(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_version = comparer_module.load_version
    loaded: list[weakref.ref[Any]] = []

    def remember(*given: Any) -> Any:
        model = load_version(*given)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(comparer_module, "load_version", remember)
    assert compare(http, users=2).status_code == 200
    assert compare(http, a="made-2", b="made-1", source="shadowed").status_code == 200
    wait_for(lambda: [one() for one in loaded] == [None, None])


def test_the_command_asks_a_service_and_writes_a_page(
    http: TestClient, folder: Path, store: EmbeddedStore, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", TOKEN)
    page = folder / "page.html"
    with listening(settings_for(store.url, folder, store_dir=folder / "more journals")) as running:
        url = f"http://127.0.0.1:{running.port}"
        command = ["models", "compare", "made-1", "made-2", "--url", url, "--users", "4"]
        assert main([*command, "--html", str(page)]) == 0
        printed = capsys.readouterr()
        # Before anybody is asked, which may take minutes.
        nowhere = ["--html", str(page / "page.html"), "--url", "http://127.0.0.1:1"]
        assert main([*command, *nowhere]) == 1
        assert "--html" in capsys.readouterr().err
        assert main(["models", "shadow", "made-2", "--share", "5", "--url", url]) == 0
        assert "made-2 also answers 5 % of the requests, unseen" in capsys.readouterr().out
        assert main(["models", "list", "--url", url]) == 0
        assert "shadow" in capsys.readouterr().out
        assert main(["models", "shadow", "made-2", "--share", "0", "--url", url]) == 0
        assert "made-2 is no longer the shadow" in capsys.readouterr().out
    lines = printed.out.splitlines()
    assert lines[0].split() == ["all", "head", "tail", "new"]
    assert lines[1].split()[:2] == ["answers", "4"]
    assert lines[-1].startswith("most changed: u")
    assert "made-1 and made-2 compared" in page.read_text()


def test_wrong_arguments_of_the_command() -> None:
    parser = build_parser()
    for words in (["made-1"], ["a", "b", "--users", "0"], ["a", "b", "--k", "x"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["models", "compare", *words])
    arguments: argparse.Namespace = parser.parse_args(["models", "compare", "a", "b"])
    assert (arguments.users, arguments.k, arguments.shadowed) == (200, 10, False)


def test_a_store_that_is_away_ends_a_comparison(http: TestClient) -> None:
    service = service_of(http)

    async def incomplete(*_: Any) -> Any:
        found = await type(features).read_histories(features, *_)
        return [type(one)(one.items, one.n_unknown, is_complete=False) for one in found]

    features = service.store.background_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "read_histories", incomplete)
        answer = compare(http, users=1)
    assert answer.status_code == 503
    assert "can't be read in full" in answer.json()["detail"]
    assert compare(http, users=1).status_code == 200


def test_nobody_asks_about_a_forgotten_person(http: TestClient) -> None:
    before = compare(http, users=1_000).json()
    gone = before["changed"][0]["user_id"]
    assert http.delete(f"/users/{gone}", headers=AS_ADMIN).status_code == 200
    after = compare(http, users=1_000).json()
    assert after["answers"] == before["answers"] - 1
    assert gone not in {one["user_id"] for one in after["changed"]}
