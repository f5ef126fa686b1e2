from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.recommender.item_encoder import ItemEncoder, whiten


def text_like(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Vectors that point nearly all one way, as those of texts do; row 0 is padding's."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((n + 1, size), np.float32)
    vectors[1:] = 5.0 + rng.normal(size=(n, size)) * np.linspace(2.0, 0.1, size)
    vectors[1:] /= np.linalg.norm(vectors[1:], axis=1, keepdims=True)
    return vectors


def test_white_vectors_have_no_common_direction_and_unit_variance() -> None:
    white = whiten(text_like(300, 20), 8)
    assert white.shape == (301, 8)
    assert not white[0].any()
    np.testing.assert_allclose(white[1:].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(white[1:].T, bias=True), np.eye(8), atol=1e-4)


def test_items_without_knowledge_stay_at_the_centre() -> None:
    vectors = text_like(50, 20)
    vectors[7] = 0.0
    white = whiten(vectors, 8)
    assert not white[7].any()
    np.testing.assert_allclose(white.sum(axis=0), 0, atol=1e-4)


def test_no_more_axes_than_the_vectors_span() -> None:
    flat = text_like(40, 3)
    white = whiten(flat, 8)
    assert (np.abs(white).max(axis=0) > 0).tolist() == [True] * 3 + [False] * 5
    assert not whiten(np.zeros((5, 3), np.float32), 2).any()
    alike = np.ones((5, 3), np.float32)
    alike[0] = 0.0
    assert np.isfinite(whiten(alike, 2)).all()


def test_the_axes_do_not_depend_on_the_run() -> None:
    np.testing.assert_array_equal(whiten(text_like(40, 9), 5), whiten(text_like(40, 9), 5))


@pytest.mark.parametrize("with_knowledge", [True, False])
def test_training_starts_from_the_id_vectors(with_knowledge: bool) -> None:
    torch.manual_seed(0)
    white = whiten(text_like(200, 30), 16)
    encoder = ItemEncoder(200, 16, white if with_knowledge else None, white)
    table = encoder().detach().numpy()
    assert table.shape == (201, 16)
    assert not table[0].any()
    likeness = np.corrcoef(table[1:].ravel(), white[1:].ravel())[0, 1]
    assert likeness > 0.99
    assert encoder.ids.detach().numpy()[1:].std() == pytest.approx(0.02, rel=0.01)


def test_items_without_a_vector_start_at_random() -> None:
    torch.manual_seed(0)
    vectors = text_like(20, 10)
    vectors[3] = 0.0
    table = ItemEncoder(20, 8, None, whiten(vectors, 8))().detach()
    assert table[3].abs().min() > 0
