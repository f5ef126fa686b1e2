"""Items like a disliked one lose by the weight that the version's build chose."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from app.recommend.dislikes import move_away
from model_store.dislikes import away_from
from model_store.embedded import EmbeddedStore
from model_store.event_rules import EventsInfo
from model_store.history import History
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.app.store.conftest import ask, ids_for
from tests.synthetic_bundle import Catalogue, expected_scores, make_bundle, user_vector


def test_items_like_a_disliked_one_lose_by_the_weight_that_a_build_chose(
    store: EmbeddedStore, folder: Path, catalogue: Catalogue
) -> None:
    info = EventsInfo(dislike_weight=0.4)
    bundle = make_bundle(folder / "made", version="away", catalogue=catalogue, events=info)
    publish_and_activate(bundle, folder, store.url)
    table = catalogue.table
    history, disliked = np.array([7, 9], np.int32), np.array([20, 21])
    centre = table[1:].mean(axis=0)
    shift = away_from(user_vector(table, history), table[disliked], centre, 0.4)
    scores = expected_scores(table, history) + table @ shift
    scores[[0, *history, *disliked]] = -np.inf
    order = np.argsort(-scores, kind="stable")[:10]
    with serving(settings_for(store.url, folder)) as http:
        events = [
            {"user_id": "picky", "item_id": f"i{index}", "timestamp": 1_000 * step}
            for step, index in enumerate((7, 9, 20, 21))
        ]
        assert http.post("/events", json={"events": events[:2]}).status_code == 200
        plain = ids_for(http, user_id="picky")
        dislikes = [{**event, "type": "dislike"} for event in events[2:]]
        assert http.post("/events", json={"events": dislikes}).status_code == 200
        answer = ask(http, user_id="picky", k=10, explain=True)
        assert [item["item_id"] for item in answer["items"]] == [f"i{index}" for index in order]
        assert [item["item_id"] for item in answer["items"]] != plain[:10]
        for item, index in zip(answer["items"], order, strict=True):
            assert item["score"] == pytest.approx(scores[index], abs=1e-4)
            reasons = item["explanation"]
            assert reasons["dislikes"] == pytest.approx(table[index] @ shift, abs=1e-4)
            parts = sum(reason["contribution"] for reason in reasons["because"])
            total = parts + reasons["remainder"] + reasons["dislikes"]
            assert total == pytest.approx(item["score"], abs=1e-3)
        assert "dislikes" not in ask(http, user_id="u1", explain=True)["items"][0]["explanation"]


def test_a_vector_that_a_retriever_reads_is_moved_itself(catalogue: Catalogue) -> None:
    table, history = catalogue.table, np.array([7, 9], np.int32)
    user, centre = user_vector(table, history), table[1:].mean(axis=0)
    model = SimpleNamespace(
        table=table,
        centre=centre,
        retriever=object(),
        events=EventsInfo(dislike_weight=0.4),
        sequence=SimpleNamespace(user_vectors=lambda _: [user]),
    )
    plans = [
        SimpleNamespace(history=History(history, disliked=np.array([20], np.int32))),
        SimpleNamespace(history=History(history)),
        SimpleNamespace(history=History(history, disliked=np.array([20], np.int32))),
    ]
    moved, alike, nothing = move_away([user, user, None], cast(Any, plans), cast(Any, model))
    assert moved is not None
    np.testing.assert_allclose(moved, user + away_from(user, table[[20]], centre, 0.4))
    assert alike is user
    assert nothing is None
