"""Of the versions that refreshes published the newest stay, and those that are needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from model_store import keys
from model_store.deployment import now
from model_store.errors import ConfigError
from model_store.experiment import Arm, Experiment
from model_store.publication import publish
from model_store.registry import Registry
from offline.inputs import Source
from offline.refresh.choices import Choices
from offline.refresh.retirement import published_by, retire_older
from offline.refresh.running import KEPT_MODELS, named_versions
from tests.synthetic_bundle import make_bundle, make_catalogue

VERSIONS = [f"made-{number}" for number in range(1, 7)]


def test_older_ones_go_but_the_active_one_and_the_one_to_go_back_to(
    client: redis.Redis, tmp_path: Path
) -> None:
    client.flushall()
    for number, version in enumerate(VERSIONS):
        catalogue = make_catalogue(seed=number)
        bundle = make_bundle(tmp_path / version, version=version, catalogue=catalogue)
        assert publish(bundle, tmp_path / "bundles", client).version == version
        run = tmp_path / "runs" / f"{number:04d}"
        run.mkdir(parents=True)
        (run / "report.json").write_text(json.dumps({"version": version}))
    for number, text in enumerate(('{"version": null}', "{"), start=len(VERSIONS)):
        run = tmp_path / "runs" / f"{number:04d}"
        run.mkdir()
        (run / "report.json").write_text(text)
    assert published_by(tmp_path / "runs") == VERSIONS
    assert published_by(tmp_path / "nothing") == []
    registry = Registry(client)
    for version in ("made-3", "made-1", "made-2"):
        registry.activate(version)
    said: list[str] = []
    for _ in range(2):
        retire_older(VERSIONS, 2, client, tmp_path / "bundles", said.append)
    # made-2 answers, and made-1 would be gone back to.
    assert {one.version for one in registry.records()} == set(VERSIONS) - {"made-3", "made-4"}
    assert registry.active() == "made-2"
    assert not client.keys(keys.version_pattern("made-3"))
    assert client.keys(keys.version_pattern("made-1"))
    told = [line.partition(":")[0] for line in said]
    assert told == ["not retired", "retired made-3", "retired made-4", "not retired"]


def test_records_name_versions_whose_weights_stay(client: redis.Redis, tmp_path: Path) -> None:
    client.flushall()
    for number, version in enumerate(VERSIONS):
        catalogue = make_catalogue(seed=number)
        bundle = make_bundle(tmp_path / version, version=version, catalogue=catalogue)
        publish(bundle, tmp_path / "bundles", client)
    assert named_versions(client) == set()
    registry, other = Registry(client), Registry(client, model="other")
    for version in ("made-1", "made-2", "made-3"):
        registry.activate(version)
    registry.canary("made-4", 5)
    other.activate("made-5")
    other.shadow("made-6", 10)
    assert named_versions(client) == set(VERSIONS)
    registry.canary("made-4", 0)
    arms = (Arm(name="a", version="made-3", share=50), Arm(name="b", version="made-4", share=50))
    registry.start_experiment(Experiment(name="e", salt="e", since=now(), arms=arms))
    registry.stop_experiment("e")
    assert named_versions(client) == set(VERSIONS)
    for _ in range(KEPT_MODELS):  # promotions of many nights
        for version in ("made-2", "made-3"):
            registry.activate(version)
    assert named_versions(client) == set(VERSIONS) - {"made-1"}


def test_one_alone_leaves_nothing_to_go_back_to(tmp_path: Path) -> None:
    source = Source(tmp_path, None, "item", events=tmp_path)
    with pytest.raises(ConfigError, match="--keep 1: below 2"):
        Choices(source, tmp_path, tmp_path, keep=1).check()
    Choices(source, tmp_path, tmp_path, keep=2).check()
