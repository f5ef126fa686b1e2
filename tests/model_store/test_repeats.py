from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.attributes import ItemAttributes
from model_store.id_map import IdMap
from model_store.repeats import Repeats, collapse
from offline.data.config import DataConfig
from offline.data.dataset import Dataset
from offline.data.interactions import Interactions
from offline.data.issues import Issues
from offline.data.selection import select

histories = st.lists(st.integers(1, 4), max_size=12)


@given(histories)
def test_repeats_are_collapsed_as_defined(history: list[int]) -> None:
    items = np.array(history, np.int32)
    assert collapse(items, "keep") is items
    assert collapse(items, "runs").tolist() == [item for item, _ in groupby(history)]
    assert collapse(items, "first").tolist() == list(dict.fromkeys(history))
    for repeats in ("runs", "first"):
        once = collapse(items, repeats)
        assert once.dtype == np.int32
        assert collapse(once, repeats) is once


@pytest.mark.parametrize("repeats", ["keep", "runs", "first"])
@settings(max_examples=30)
@given(st.lists(histories.filter(bool), min_size=1, max_size=4))
def test_a_service_collapses_as_training_did(repeats: Repeats, users: list[list[int]]) -> None:
    lengths = [len(history) for history in users]
    items = np.concatenate(users)
    interactions = Interactions.from_rows(
        [f"u{n}" for n in range(len(users))],
        IdMap(["a", "b", "c", "d"]),
        np.repeat(np.arange(len(users)), lengths),
        items,
        np.arange(len(items), dtype=np.float64),
    )
    dataset = Dataset(interactions, ItemAttributes([], 4), Issues())
    trained = select(dataset, DataConfig(repeats=repeats)).interactions
    for user, history in enumerate(users):
        served = collapse(np.array(history, np.int32), repeats)
        assert trained.history(user).tolist() == served.tolist()
