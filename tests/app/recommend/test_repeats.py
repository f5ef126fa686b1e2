"""A model that was trained on collapsed repeats reads collapsed histories, also of live events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.embedded import EmbeddedStore
from model_store.repeats import Repeats
from tests.app.conftest import publish_and_activate, serving, settings_for
from tests.synthetic_bundle import Catalogue, expected_scores, make_bundle

ACTS = [3, 3, 8, 8, 8, 3, 5, 5]


@pytest.mark.parametrize(
    ("repeats", "read"), [("keep", ACTS), ("runs", [3, 8, 3, 5]), ("first", [3, 8, 5])]
)
def test_given_and_stored_histories_are_collapsed(
    repeats: Repeats,
    read: list[int],
    catalogue: Catalogue,
    store: EmbeddedStore,
    folder: Path,
    tmp_path: Path,
) -> None:
    bundle = make_bundle(
        tmp_path / "made", catalogue=catalogue, with_encoder=False, repeats=repeats
    )
    publish_and_activate(bundle, folder, store.url)
    scores = expected_scores(catalogue.table, np.array(read, np.int32))
    scores[[0, 3, 5, 8]] = -np.inf
    best = [f"i{item}" for item in np.argsort(-scores, kind="stable")[:10]]
    person = f"shopper {repeats}"
    with serving(settings_for(store.url, folder)) as http:
        events = [
            {"user_id": person, "item_id": f"i{item}", "timestamp": 1_700_000_000 + 10 * step}
            for step, item in enumerate(ACTS)
        ]
        assert http.post("/events", json={"events": events}).status_code in (200, 202)
        for who in ({"user_id": person}, {"history": [f"i{item}" for item in ACTS]}):
            answer = http.post("/recommend", json={"k": 10, **who}).json()
            assert answer["served_by"] == "model"
            assert [item["item_id"] for item in answer["items"]] == best
