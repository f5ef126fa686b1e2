"""Interactions that follow an answer are told by the archived events that name it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_store.codecs import Event
from model_store.id_map import IdMap
from offline.data.interactions import Interactions
from offline.data.prompted import find_prompted
from offline.event_archive.archive import EventArchive, Logged


def test_the_event_of_the_same_user_item_and_second_has_to_name_an_answer(tmp_path: Path) -> None:
    interactions = Interactions.from_rows(
        ["ann", "ben"],
        IdMap(["i1", "i2", "i3"]),
        np.array([0, 0, 0, 1]),
        np.array([1, 2, 3, 2]),
        np.array([10.2, 20.0, 30.0, 20.0]),
    )
    events = EventArchive(tmp_path)
    with events.locked():
        events.add(
            [
                Logged("ann", Event("i1", 10.2, request_id="r1"), 10),
                Logged("ann", Event("i2", 20.0), 20),
                Logged("ann", Event("i3", 99.0, request_id="r2"), 99),
                Logged("ann", Event("gone", 30.0, request_id="r2"), 100),
                Logged("ben", Event("i2", 20.0, request_id="r3"), 20),
            ]
        )
    assert find_prompted(interactions, tmp_path).tolist() == [True, False, False, True]
    assert not find_prompted(interactions, None).any()
