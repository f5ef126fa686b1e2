"""Where dislikes tell what people choose next, a build weighs them and answers move away from them.

A shop with four kinds of things. Everybody likes two kinds alike, then dislikes a thing of one and
chooses from the other alone: a history without its dislike says nothing about which.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

import longtail
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.store.conftest import ask

pytestmark = pytest.mark.slow

RECIPE = """
description = "a shop where dislikes tell something, for tests"

[knowledge]
model = "none"

[encoding]
encoder = "none"

[recommender]
embedding_size = 16
max_length = 12
dropout = 0.4
layers = 1
id_init = "random"
knowledge_beside_ids = false

[training]
epochs = 40
batch_size = 32
learning_rate = 0.01
"""
N_USERS, N_KINDS, N_OF_A_KIND = 240, 4, 20
BEFORE, AFTER, TOP = 6, 3, 10


def of_kind(kind: int) -> np.ndarray:
    return np.arange(kind * N_OF_A_KIND, (kind + 1) * N_OF_A_KIND)


def events_of(user: int) -> tuple[list[tuple[int, str]], int, int]:
    """Items with their types in order of time; the kind that is kept, and the one that is left."""
    random = np.random.default_rng(user)
    kept, left = (int(kind) for kind in random.permutation(N_KINDS)[:2])
    from_kept = random.permutation(of_kind(kept))[: BEFORE // 2 + AFTER].tolist()
    from_left = random.permutation(of_kind(left))[: BEFORE // 2 + 1].tolist()
    liked = random.permutation([*from_kept[: BEFORE // 2], *from_left[: BEFORE // 2]]).tolist()
    typed = [(item, "view") for item in liked]
    typed.append((from_left[-1], "dislike"))
    return typed + [(item, "view") for item in from_kept[BEFORE // 2 :]], kept, left


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("planted")
    lines = ["user_id,item_id,timestamp,event_type"]
    for user in range(N_USERS):
        for step, (item, event_type) in enumerate(events_of(user)[0]):
            lines.append(f"u{user},{item},{1_700_000_000 + 100 * step},{event_type}")
    (folder / "events.csv").write_text("\n".join(lines))
    (folder / "shop.toml").write_text(RECIPE)
    arguments = ["--interactions", f"{folder}/events.csv", "--recipe", f"{folder}/shop.toml"]
    assert longtail.main(["build", *arguments, "--out", f"{folder}/out"]) == 0
    return Bundle.open(folder / "out" / "bundle")


@pytest.fixture(scope="module")
def http(
    store: EmbeddedStore, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "bundles").mkdir()
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(bundle, folder, store.url)
    with serving(settings_for(store.url, folder)) as http:
        yield http


def test_the_weight_is_chosen_on_validation(bundle: Bundle) -> None:
    assert bundle.manifest.events.dislike_weight > 0


def test_what_is_nearest_to_a_disliked_thing_leaves_the_answers(
    bundle: Bundle, http: TestClient
) -> None:
    """New people like two kinds alike; before a dislike both are in their answers."""
    shares = {"before": [], "after": []}
    for user in range(N_USERS, N_USERS + 40):
        typed, _, left = events_of(user)
        user_id = f"new{user}"
        sent = [
            {"user_id": user_id, "item_id": str(item), "type": event_type, "event_id": str(step)}
            for step, (item, event_type) in enumerate(typed[: BEFORE + 1])
        ]
        disliked = str(sent[-1]["item_id"])
        nearest = {str(item) for item in of_kind(left)}
        for moment, events in (("before", sent[:-1]), ("after", sent[-1:])):
            assert http.post("/events", json={"events": events}).status_code == 200
            items = [item["item_id"] for item in ask(http, user_id=user_id, k=TOP)["items"]]
            shares[moment].append(np.mean([item in nearest for item in items]))
            assert moment == "before" or disliked not in items
    before, after = np.mean(shares["before"]), np.mean(shares["after"])
    print(f"weight {bundle.manifest.events.dislike_weight}: {before:.3f} before, {after:.3f} after")
    assert before > 0.3
    assert after < before / 2
