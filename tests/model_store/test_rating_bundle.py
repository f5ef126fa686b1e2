"""Bundles of kind rating: damage is told by the file's name before anything answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.model.model import load_model
from model_store.bundle import Bundle
from model_store.errors import BundleError
from tests.synthetic_ratings import make_rating_bundle


def change_array(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return damage


def change_golden(**fields: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        [entry] = json.loads((folder / "golden.json").read_bytes())
        (folder / "golden.json").write_text(json.dumps([{**entry, **fields}]))

    return damage


def set_first(value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[1] = value
        return array

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_array("user_table.npy", lambda a: a[:-1]), "user_table.npy: shape"),
        (change_array("rated_table.npy", lambda a: a[:, :1]), "rated_table.npy: shape"),
        (change_array("item_means.npy", lambda a: a.astype(np.float64)), "item_means.npy: holds"),
        (change_array("user_table.npy", set_first(np.nan)), "user_table.npy: holds NaN"),
        (change_array("user_means.npy", set_first(9.0)), "user_means.npy: holds 9"),
        (change_array("rated_table.npy", lambda a: a + 1), "rated_table.npy: row 0"),
        (change_golden(user_id="nobody"), "user 'nobody' is none of the bundle's"),
        (change_golden(item_ids=["i1", "i2", "x"]), r"items \['x'\] are not in the id map"),
        (change_golden(ratings=[1.0]), "3 items and 1 ratings"),
        (change_golden(ratings=[1.0, float("nan"), 1.0]), "not finite"),
        (lambda folder: (folder / "user_table.npy").unlink(), "not there"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    bundle = make_rating_bundle(tmp_path / "rated")
    damage(bundle.folder)
    manifest = json.loads((bundle.folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():  # all but the damage itself is consistent
        if (bundle.folder / name).exists():
            entry["size_bytes"] = (bundle.folder / name).stat().st_size
    (bundle.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder, verify=False).check_contents()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sequential"}, "is none of kind 'sequential'"),
        ({"n_users": 0}, "predicts for users"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_rejected(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    bundle = make_rating_bundle(tmp_path / "rated")
    path = bundle.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lowest": 5.0}, "are no scale"),
        ({"user_size": 5}, "user_size"),
        ({"outputs": []}, "are not those of a rating graph"),
    ],
)
def test_a_model_that_is_no_rating_graph_is_rejected(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    bundle = make_rating_bundle(tmp_path / "rated")
    path = bundle.folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "model": {**manifest["model"], **changes}}))
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


def test_other_answers_than_the_golden_ones_are_rejected(tmp_path: Path) -> None:
    bundle = make_rating_bundle(tmp_path / "rated", wrong_golden=True)
    with pytest.raises(BundleError, match="golden request 0: ratings differ by 1"):
        load_model(Bundle.open(bundle.folder))
