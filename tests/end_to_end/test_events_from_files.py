"""Ratings and types of a file's rows, from a recipe's `[events]` to the answers of a service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import longtail
from model_store import people
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.store.conftest import ask, ids_for

pytestmark = pytest.mark.slow

RECIPE = """
description = "a shop's events, for tests"

[events]
weights = {purchase = 3.0}
context = ["view"]
positive_from = 4
negative_to = 2

[knowledge]
model = "none"

[encoding]
encoder = "none"

[recommender]
embedding_size = 16
max_length = 12
layers = 1
id_init = "random"
knowledge_beside_ids = false

[training]
epochs = 2
"""
N_USERS, N_ITEMS = 40, 30
TYPES = ("purchase", "rating", "view", "dislike")


def rows() -> Iterator[tuple[int, int, int, str, str]]:
    """User, item, time, type and rating; users 0 and 1 dislike items 1 and 2, user 2 all it has."""
    random = np.random.default_rng(0)
    for user in range(N_USERS):
        for step, item in enumerate(random.permutation(N_ITEMS)[:12].tolist()):
            kind = "dislike" if user == 2 else str(random.choice(["purchase", "rating", "view"]))
            rating = str(random.choice([3, 5, 5])) if kind == "rating" else ""
            yield user, item, 1_700_000_000 + 100 * step, kind, rating
    for user in range(2):
        yield user, user + 1, 1_700_009_000, "rating", "1"


def build(folder: Path, *, fives: str = "5") -> Bundle:
    lines = [
        f"u{user},{item},{time},{kind},{fives if rating == '5' and user % 2 else rating}"
        for user, item, time, kind, rating in rows()
    ]
    (folder / "events.csv").write_text(
        "\n".join(["user_id,item_id,timestamp,event_type,rating", *lines])
    )
    (folder / "items.csv").write_text(
        "\n".join(["item_id,title", *(f"{item},Thing {item}" for item in range(N_ITEMS))])
    )
    (folder / "shop.toml").write_text(RECIPE)
    flags = ["--interactions", str(folder / "events.csv"), "--items", str(folder / "items.csv")]
    out = folder / f"out-{fives}"
    assert (
        longtail.main(["build", *flags, "--recipe", str(folder / "shop.toml"), "--out", str(out)])
        == 0
    )
    return Bundle.open(out / "bundle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return build(folder)


@pytest.fixture(scope="module")
def http(store: EmbeddedStore, folder: Path, bundle: Bundle) -> Iterator[TestClient]:
    with connect(store.url) as client:
        client.flushall()
    (folder / "bundles").mkdir()
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def items_of(user: int, *kinds: str, ratings: tuple[str, ...] = ("", "3", "5")) -> set[str]:
    return {
        str(item)
        for one, item, _, kind, rating in rows()
        if one == user and kind in kinds and rating in ratings
    }


def test_the_bundle_tells_its_rules_and_histories_hold_what_is_positive(bundle: Bundle) -> None:
    assert bundle.manifest.events.rules.weights == {"purchase": 3.0}
    assert set(bundle.manifest.events.types) == {*TYPES}
    # Two users with dislikes are too few to choose a weight by.
    assert bundle.manifest.events.dislike_weight == 0.0
    assert "dislikes" in bundle.manifest.inputs
    histories = dict(bundle.users())
    everything = dict(bundle.all_interactions())
    assert "u2" not in histories
    assert len(histories) == bundle.manifest.n_users == N_USERS - 1
    assert len(everything) == bundle.n_event_users == N_USERS
    for user_id, history in histories.items():
        positive = everything[user_id].positive()
        np.testing.assert_array_equal(positive.items, history.items)
        np.testing.assert_array_equal(positive.timestamps, history.timestamps)
    wanted = items_of(0, "purchase") | items_of(0, "rating", ratings=("5",))
    assert {bundle.item_ids.id_of(int(index)) for index in histories["u0"].items} == wanted


def test_items_that_the_files_say_are_disliked_are_in_no_answer(http: TestClient) -> None:
    everything = {str(item) for item in range(N_ITEMS)}
    answer = ask(http, user_id="u0", exclude_seen=False)
    assert answer["served_by"] == "model"
    assert {item["item_id"] for item in answer["items"]} == everything - {"1"}
    only = ask(http, user_id="u2", exclude_seen=False)
    assert only["served_by"] == "popular"
    assert {item["item_id"] for item in only["items"]} == everything - items_of(2, "dislike")


def test_types_of_the_files_count_in_exclude_seen(http: TestClient) -> None:
    everything = {str(item) for item in range(N_ITEMS)}
    bought = items_of(5, "purchase")
    assert bought
    assert set(ids_for(http, user_id="u5", exclude_seen=["purchase"])) == everything - bought
    viewed = items_of(5, "view")
    assert set(ids_for(http, user_id="u5", exclude_seen=["view"])) == everything - viewed


def test_a_person_is_told_what_each_interaction_was_taken_for(
    http: TestClient, store: EmbeddedStore, folder: Path
) -> None:
    with connect(store.url) as client:
        [history] = people.export("u0", client, folder / "bundles")["histories"].values()
    told = {(one["item_id"], one["type"], one["kind"]) for one in history}
    meanings = {"3": "context", "5": "positive", "1": "negative"}
    assert told == {
        (str(item), kind, "context" if kind == "view" else meanings.get(rating, "positive"))
        for user, item, _, kind, rating in rows()
        if user == 0
    }


def test_fives_that_become_ones_are_another_model(folder: Path, bundle: Bundle) -> None:
    other = build(folder, fives="1")
    assert not np.array_equal(other.item_table, bundle.item_table)
    assert other.popularity.sum() < bundle.popularity.sum()
