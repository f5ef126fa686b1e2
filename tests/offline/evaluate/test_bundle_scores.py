"""A bundle's model ranks the items of another catalogue as its service ranks its own."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.bundle import Bundle
from model_store.fresh_items import FreshItem
from model_store.id_map import IdMap
from offline.evaluate.bundle_scores import BundleScores
from tests.synthetic_bundle import DECAY, Catalogue, make_bundle, make_catalogue

IDS = IdMap(["elsewhere", "i3", "i1", "fresh", "i2"])


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return make_catalogue()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("made") / "made-1", catalogue=catalogue)


def history(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int32)


def user_vector(rows: np.ndarray) -> np.ndarray:
    """As the synthetic graph reads a history's rows, oldest first."""
    weights = DECAY ** np.arange(len(rows))[::-1]
    return np.asarray(weights @ rows / weights.sum())


def test_items_that_it_lacks_are_neither_read_nor_recommended(
    bundle: Bundle, catalogue: Catalogue
) -> None:
    found = BundleScores(bundle, IDS).score([history(1, 3, 2), history(3)])
    table = catalogue.table  # row 3 is i3's
    for row, own in zip(found, ([1, 3], [1]), strict=True):
        expected = table[[3, 1, 2]] @ user_vector(table[own])
        np.testing.assert_allclose(row[[2, 3, 5]], expected, rtol=1e-4, atol=1e-5)
        assert np.isneginf(row[[1, 4]]).all()


def test_a_history_without_its_items_is_answered_by_popularity(bundle: Bundle) -> None:
    found = BundleScores(bundle, IDS).score([history(1), history()])
    for row in found:
        assert row[[2, 3, 5]].tolist() == bundle.popularity[[3, 1, 2]].tolist()


def test_a_fresh_item_has_the_row_that_a_service_gives_it(
    bundle: Bundle, catalogue: Catalogue
) -> None:
    fresh = FreshItem("fresh", catalogue.knowledge[5], {})
    known_since = FreshItem("i1", catalogue.knowledge[9], {})
    scores = BundleScores(bundle, IDS, [known_since, fresh])
    assert scores.are_known(history(1, 2, 3, 4, 5)).tolist() == [False, True, True, True, True]
    row = np.append(catalogue.knowledge[5], 1.0) @ catalogue.projection
    [found] = scores.score([history(3, 4)])
    user = user_vector(np.stack([catalogue.table[1], row]))
    np.testing.assert_allclose(found[4], row @ user, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[3], catalogue.table[1] @ user, rtol=1e-4, atol=1e-5)
