"""`longtail models` and `longtail experiments` under names, on the store and through a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import longtail
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.store import connect
from tests.app.conftest import TOKEN, publish_and_activate, settings_for
from tests.app.listening import listening
from tests.synthetic_bundle import Catalogue, make_catalogue
from tests.synthetic_ratings import make_rating_bundle


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def url(
    store: EmbeddedStore, synthetic_bundle: Bundle, catalogue: Catalogue, shop: Path
) -> Iterator[str]:
    """A service with a sequential default; two rating versions are published."""
    publish_and_activate(synthetic_bundle, shop, store.url)
    with connect(store.url) as client:
        for version, made in (("rated-1", catalogue), ("rated-2", make_catalogue(seed=8))):
            bundle = make_rating_bundle(shop / version, version=version, catalogue=made)
            publish(bundle, shop / "bundles", client)
    with listening(settings_for(store.url, shop)) as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture
def run(
    store: EmbeddedStore,
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(shop / "bundles"))
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", TOKEN)

    def run(*words: str, fails: bool = False) -> str:
        status = longtail.main(list(words))
        printed = capsys.readouterr()
        assert (status != 0) == fails, printed.err
        return printed.err if fails else printed.out

    return run


@pytest.mark.parametrize("through_service", [True, False])
def test_a_name_from_its_first_activation_to_its_end(
    url: str, run: Any, through_service: bool
) -> None:
    where = ("--url", url) if through_service else ()
    name = f"ratings-{through_service}"
    under = ("--model", name, *where)
    said = run("models", "activate", "rated-1", *under)
    assert said.startswith(f"active under the name {name} is rated-1, before it was none\n")
    said = run("models", "canary", "rated-2", "--percent", "20", *under)
    assert f"`longtail models promote rated-2 --model {name}` gives it to all users" in said
    listed = run("models", "list", *where)
    assert f"canary rated-2, 20 % of the users as {name}: waiting: " in listed
    document = json.loads(run("models", "list", "--json", *where))
    assert document["names"][name]["active"] == "rated-1"
    assert document["names"][name]["canary"]["version"] == "rated-2"
    assert (document["active"], document["canary"]) == ("made-1", None)
    by_version = {one["version"]: one for one in document["models"]}
    assert by_version["rated-1"]["names"] == [name]
    assert f"{name}" in run("models", "show", "rated-1", *where)
    assert run("models", "promote", "rated-2", *under).startswith(
        f"active under the name {name} is rated-2, before it was rated-1"
    )
    arms = ("--arm", "a=50", "--arm", "b=50,version=rated-1")
    assert "runs: a 50 %" in run("experiments", "start", name, *arms, *under)
    assert name in run("experiments", "show", *where)
    assert ", stopped " in run("experiments", "stop", name, *where)
    said = run("models", "rollback", *under)
    assert said.startswith(f"active under the name {name} is rated-1, before it was rated-2")
    assert run("models", "deactivate", *under) == (
        f"the name {name} answers no more, before it was rated-1; "
        f"`longtail models rollback --model {name}` brings it back\n"
    )
    said = run("models", "deactivate", *under, fails=True)
    assert f"{name!r}: no version is active under this name" in said
    assert json.loads(run("models", "list", "--json", *where))["names"].keys() == {"default"}


def test_a_version_in_use_under_a_name_is_not_retired(url: str, run: Any) -> None:
    run("models", "activate", "rated-1", "--model", "stars")
    said = run("models", "retire", "rated-1", fails=True)
    assert "version 'rated-1' is active under the name 'stars'; activate another one first" in said
    run("models", "deactivate", "--model", "stars")


def test_a_name_of_other_letters_is_rejected(url: str, run: Any) -> None:
    said = run("models", "activate", "rated-1", "--model", "a b", fails=True)
    assert "model 'a b' must be 1 to 64 of A-Z a-z 0-9 . _ -" in said
    said = run("models", "deactivate", "--model", "default", fails=True)
    assert "can't be deactivated" in said
