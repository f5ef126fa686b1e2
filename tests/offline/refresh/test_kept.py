"""What a refresh takes from the folder of a build: weights, and what takes minutes to export."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from offline.refresh.refresh import _reuse
from offline.refresh.running import KEPT_MODELS, Running, keep_weights, prune_weights


def write_stage(folder: Path, fingerprint: str, weights: str = "weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"fingerprint": fingerprint}))
    (folder / "config.json").write_text("{}")
    (folder / "weights.safetensors").write_text(weights)
    return folder


def running(folder: Path, version: str = "v1", **inputs: str) -> Running:
    """A version whose bundle names these stages by fingerprint."""
    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "item_ids.json").write_text('["i1"]')
    manifest = SimpleNamespace(inputs=inputs)
    found: Any = SimpleNamespace(folder=bundle, manifest=manifest)
    return Running(version, found, cast(Any, None), "item", ())


def test_weights_are_found_by_fingerprint_and_kept(tmp_path: Path) -> None:
    places = [tmp_path / "refresh", tmp_path / "build"]
    write_stage(places[0] / "refit", "another", "of a later refresh")
    trained = write_stage(places[1] / "refit", "wanted")
    version = running(tmp_path, refit="wanted")
    kept = keep_weights(version, places, tmp_path / "models")
    assert kept is not None
    assert kept.path("weights.safetensors").read_text() == "weights"
    # Whatever a later build leaves there.
    (trained / "weights.safetensors").write_text("others")
    again = keep_weights(version, places, tmp_path / "models")
    assert again is not None
    assert again.fingerprint == kept.fingerprint


def test_a_model_that_was_not_refitted_is_the_recommender(tmp_path: Path) -> None:
    write_stage(tmp_path / "recommender", "wanted")
    version = running(tmp_path, recommender="wanted")
    assert keep_weights(version, [tmp_path], tmp_path / "models") is not None


@pytest.mark.parametrize("inputs", [{}, {"refit": "elsewhere"}])
def test_weights_of_another_build_are_not_taken(tmp_path: Path, inputs: dict[str, str]) -> None:
    write_stage(tmp_path / "refit", "wanted")
    assert keep_weights(running(tmp_path, **inputs), [tmp_path], tmp_path / "models") is None


def test_only_the_newest_weights_stay(tmp_path: Path) -> None:
    write_stage(tmp_path / "refit", "wanted")
    models = tmp_path / "models"
    for number in range(KEPT_MODELS + 2):
        keep_weights(running(tmp_path, f"v{number}", refit="wanted"), [tmp_path], models)
        os.utime(models / f"v{number}", (number, number))
    assert {one.name for one in models.iterdir()} == {f"v{n}" for n in range(2, KEPT_MODELS + 2)}


def test_weights_that_are_needed_stay_whatever_their_age(tmp_path: Path) -> None:
    for number in range(KEPT_MODELS + 2):
        (tmp_path / f"v{number}").mkdir()
        os.utime(tmp_path / f"v{number}", (number, number))
    prune_weights(tmp_path, {"v0", "v2"})
    newest = {f"v{n}" for n in range(KEPT_MODELS + 2)} - {"v1", "v3"}
    assert {one.name for one in tmp_path.iterdir()} == newest
    prune_weights(tmp_path, {"v0"})
    assert {one.name for one in tmp_path.iterdir()} == newest
    # Those without a copy take the place of none.
    prune_weights(tmp_path, {"v0", "elsewhere"})
    assert {one.name for one in tmp_path.iterdir()} == newest


def test_an_exported_language_model_is_taken_once(tmp_path: Path) -> None:
    built, root = tmp_path / "build", tmp_path / "refresh"
    root.mkdir()
    write_stage(built / "label_graph", "f")
    write_stage(built / "recommender", "f")
    _reuse(built, root)
    assert [one.name for one in root.iterdir()] == ["label_graph"]
    (root / "label_graph" / "config.json").write_text("newer")
    _reuse(built, root)
    assert (root / "label_graph" / "config.json").read_text() == "newer"
