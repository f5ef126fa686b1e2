"""Population stability indices against values that were computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_store.attributes import Attribute, ItemAttributes
from model_store.id_map import IdMap
from offline.data.interactions import Interactions
from offline.refresh.drift import Drift, measure_drift, stability


def counts(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def test_equal_shares_have_none_whatever_their_numbers() -> None:
    found = stability(counts(50, 30, 20), counts(500, 300, 200))
    assert found.psi == pytest.approx(0.0)
    assert found.bins == 3
    assert found.by_sampling == pytest.approx(2 * (1 / 100 + 1 / 1_000))


def test_it_is_the_symmetrised_divergence() -> None:
    # (.5 - .2) ln(.5 / .2) + 0 + (.2 - .5) ln(.2 / .5) = .6 ln 2.5
    found = stability(counts(50, 30, 20), counts(20, 30, 50))
    assert found.psi == pytest.approx(0.6 * math.log(2.5))


def test_bins_that_would_get_fewer_than_five_are_one_bin() -> None:
    # Of 20 new ones the last two would get 2 each, and make one bin: (.8, .2) against (.5, .5).
    found = stability(counts(80, 10, 10), counts(10, 10, 0))
    assert found.bins == 2
    assert found.psi == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))


def test_an_empty_bin_counts_as_half_an_observation() -> None:
    found = stability(counts(20, 10), counts(10, 5), apart=(0, 5))
    before, now = counts(20.5, 10.5, 0.5) / 31.5, counts(10.5, 5.5, 5.5) / 21.5
    assert found.psi == pytest.approx(float(((before - now) * np.log(before / now)).sum()))


def test_without_one_of_the_two_there_is_no_figure() -> None:
    found = stability(counts(1, 2), counts(0, 0)).to_document()
    assert found == {"psi": None, "by_sampling": None, "bins": 0}


def drift() -> Drift:
    """Ten users with items a and b before; then two of them and two others, with c too."""
    old = [(user, item, 1.0 + step) for user in range(10) for step, item in enumerate([1, 2])]
    new = [(user, item, 9.0) for user in (0, 1, 10, 11) for item in (1, 1, 1, 1, 3)]
    rows = [*old, *new]
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    ids = IdMap(["a", "b", "c"])
    found = Interactions.from_rows([f"u{n}" for n in range(12)], ids, users, items, times)
    attributes = ItemAttributes(
        [
            Attribute("title", "text", ["A", "B", "C"]),
            Attribute("genres", "list", [["x"], ["y"], ["x", "z"]]),
            Attribute("year", "number", [1990, 2000, 2000]),
        ],
        3,
    )
    return measure_drift(found, found.timestamps == 9.0, attributes, IdMap(["a", "b"]))


def test_shares_of_unknown_items_and_users() -> None:
    found = drift()
    assert found.unknown_items == pytest.approx(4 / 20)
    assert found.unknown_users == pytest.approx(2 / 4)


def test_items_attributes_and_lengths_by_hand() -> None:
    found = drift()
    # Items a, b | unknown: (10, 10 | 0) before, (16, 0 | 4) now; half an observation in each bin.
    before, now = counts(10.5, 10.5, 0.5) / 21.5, counts(16.5, 0.5, 4.5) / 21.5
    assert found.items.psi == pytest.approx(float(((before - now) * np.log(before / now)).sum()))
    # Titles name items, and say nothing more.
    assert set(found.attributes) == {"genres", "year"}
    # Values x, y | z, pooled, as it was never seen: (10, 10 | 0) before, (20, 0 | 4) now.
    before, now = counts(10.5, 10.5, 0.5) / 21.5, counts(20.5, 0.5, 4.5) / 25.5
    expected = float(((before - now) * np.log(before / now)).sum())
    assert found.attributes["genres"].psi == pytest.approx(expected)
    # Half of the interactions were with 1990 and half with 2000; now 16 and 4.
    assert found.attributes["year"].psi == pytest.approx(
        0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5)
    )
    # All had 2, now two have 7 and two 5; four users are too few for more than one bin.
    assert (found.history_lengths.psi, found.history_lengths.bins) == (0.0, 1)


def test_a_report_has_no_numbers_that_json_lacks() -> None:
    document = drift().to_document()
    assert set(document) == {
        "items",
        "attributes",
        "history_lengths",
        "unknown_items",
        "unknown_users",
    }


def test_longer_histories_are_noticed() -> None:
    rows = [(user, 1 + step, float(step)) for user in range(40) for step in range(2)]
    rows += [(user, 3 + step, 50.0 + step) for user in range(40) for step in range(8)]
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    ids = IdMap([str(item) for item in range(10)])
    found = Interactions.from_rows([f"u{n}" for n in range(40)], ids, users, items, times)
    lengths = measure_drift(found, found.timestamps >= 50, ItemAttributes([], 10), ids)
    # From 2 to 10, by (40 | 0) and (0 | 40): half an observation each, p ln(p/q) twice over.
    share = 40.5 / 41
    expected = 2 * (share - (1 - share)) * math.log(share / (1 - share))
    assert lengths.history_lengths.psi == pytest.approx(expected)
