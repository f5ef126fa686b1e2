"""Whose drawn answers a refresh counts, where it goes on with copies of the archives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from model_store.bundle import Bundle
from model_store.codecs import Event
from model_store.event_rules import EventRules
from model_store.exposure_log import Exploration, Exposure
from model_store.forgotten import digest_of_user
from model_store.id_map import IdMap
from model_store.manifest import Manifest
from offline.event_archive.archive import EventArchive, Logged
from offline.event_archive.exposure_archive import ExposureArchive
from offline.refresh.drawn_ranks import DrawnRanksStage
from offline.stages.recommender import RecommenderArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact

BEN = digest_of_user("ben")


def answer(user_id: str, at_s: float) -> Exposure:
    how = Exploration(1.0, 10, (-0.5, -0.5))
    return Exposure(f"{user_id}{at_s}", user_id, at_s, "v1", "", "model", ("i1", "i2"), how)


def click(user_id: str, answered_s: float, at_s: float) -> Logged:
    return Logged(user_id, Event("i2", at_s, request_id=f"{user_id}{answered_s}"), int(at_s))


@pytest.fixture
def stage(tmp_path: Path) -> DrawnRanksStage:
    shown, events = ExposureArchive(tmp_path / "shown"), EventArchive(tmp_path / "events")
    with shown.locked():
        shown.add([answer("ann", 1.0), answer("ben", 2.0), answer("ben", 5.0)])
    with events.locked():
        events.add([click("ann", 1.0, 1.5), click("ben", 2.0, 2.5), click("ben", 5.0, 3.0)])
        events.add([click("ben", 2.0, 6.0)])
    (tmp_path / "data").mkdir()
    IdMap(["i1", "i2"]).save(tmp_path / "data" / RefreshedDataArtifact.ITEM_IDS)
    return DrawnRanksStage(
        RefreshedDataArtifact(tmp_path / "data", "data", {"test_from": 0.0}),
        RecommenderArtifact(tmp_path / "recommender", "recommender", {}),
        Bundle(tmp_path / "bundle", Manifest.model_construct(inputs={})),
        *("v1", shown.folder, events.folder, EventRules(), {}),
    )


def test_answers_and_clicks_of_the_forgotten_are_left_out(stage: DrawnRanksStage) -> None:
    """A click that was told with a time before counts no more than the answers from then."""
    found = stage.newest()
    assert found.user_ids == ["ann", "ben", "ben"]
    assert found.clicks.tolist() == [[0, 1]] * 3
    found = replace(stage, forgotten={BEN: 4.0}).newest()
    assert found.user_ids == ["ann", "ben"]
    assert found.at_s.tolist() == [1.0, 5.0]
    assert found.clicks.tolist() == [[0, 1], [0, 0]]
    assert replace(stage, forgotten={BEN: 9.0}).newest().user_ids == ["ann"]
    everybody = {digest_of_user(one): 9.0 for one in ("ann", "ben")}
    assert len(replace(stage, forgotten=everybody).newest()) == 0


def test_what_was_ranked_before_somebody_was_forgotten_is_not_used_again(
    stage: DrawnRanksStage,
) -> None:
    prints = {replace(stage, forgotten=one).fingerprint() for one in ({}, {BEN: 4.0}, {BEN: 9.0})}
    assert len(prints) == 3
