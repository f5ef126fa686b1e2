"""Golden answers of another processor or provider, and answers that are really others."""

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
from tests.damage import restate
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def twins() -> Catalogue:
    """Items in pairs whose rows, and so their scores, hardly differ."""
    made = make_catalogue(n_items=60)
    table = made.table.copy()
    table[2::2] = table[1::2] * np.float32(1 + 1e-5)
    return Catalogue(**{**made.__dict__, "table": table})


def with_golden(
    folder: Path, catalogue: Catalogue, change: Callable[[list[Entry]], object]
) -> Bundle:
    bundle = make_bundle(folder / "twins", catalogue=catalogue)
    path = bundle.folder / "golden.json"
    entries = json.loads(path.read_bytes())
    change(entries)
    path.write_text(json.dumps(entries))
    restate(bundle.folder)
    return Bundle.open(bundle.folder)


def twin_of(item_id: str) -> str:
    number = int(item_id[1:])
    return f"i{number + 1 if number % 2 else number - 1}"


def take_twins(entries: list[Entry]) -> None:
    """As if each pair had come out the other way round, also where only one of it is there."""
    for entry in entries:
        seen = set(entry["history"])
        for place, item_id in enumerate(entry["item_ids"]):
            if twin_of(item_id) not in seen:
                entry["item_ids"][place] = twin_of(item_id)


def test_near_ties_may_swap_and_take_each_others_place(tmp_path: Path, twins: Catalogue) -> None:
    plain = with_golden(tmp_path / "plain", twins, list)
    swapped = with_golden(tmp_path / "swapped", twins, take_twins)
    before, after = ([request.item_ids for request in bundle.golden] for bundle in (plain, swapped))
    assert before != after
    # At least one golden answer has an item that ties with the last one and isn't in the answer.
    assert any(set(one) != set(other) for one, other in zip(before, after, strict=True))
    assert load_model(swapped)


@pytest.mark.parametrize(("change", "is_accepted"), [(5e-4, True), (-5e-4, True), (5e-3, False)])
def test_scores_may_differ_by_what_the_order_of_sums_makes(
    tmp_path: Path, twins: Catalogue, change: float, is_accepted: bool
) -> None:
    def shift(entries: list[Entry]) -> None:
        for entry in entries:
            entry["scores"] = [score + change for score in entry["scores"]]

    bundle = with_golden(tmp_path, twins, shift)
    if is_accepted:
        assert load_model(bundle)
    else:
        with pytest.raises(BundleError, match=r"golden request 0: scores differ by 0\.005"):
            load_model(bundle)


def test_an_item_that_is_clearly_not_among_the_best_is_told(
    tmp_path: Path, twins: Catalogue
) -> None:
    bundle = make_bundle(tmp_path / "sound", catalogue=twins)
    model = load_model(bundle)
    first = bundle.golden[0]
    history, _ = model.ids.indices(first.history)
    [scores] = model.sequence.scores([history])
    worst = min(
        (item for item in model.ids.ids if item not in {*first.history, *first.item_ids}),
        key=lambda item: scores[model.ids.indices([item])[0][0]],
    )

    def replace_last(entries: list[Entry]) -> None:
        entries[0]["item_ids"][-1] = worst
        entries[0]["scores"][-1] = float(scores[model.ids.indices([worst])[0][0]])

    with pytest.raises(BundleError, match="golden request 0: answers"):
        load_model(with_golden(tmp_path, twins, replace_last))
