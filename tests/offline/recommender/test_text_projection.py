from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import ConfigError
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.sequential import SequenceRecommender
from offline.recommender.text_projection import centre, keep_axes, project_text, whiten
from tests.offline.recommender.planted import planted_cycle


def text_like(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Vectors that point nearly all one way, as those of texts do; row 0 is padding's."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((n + 1, size), np.float32)
    vectors[1:] = 5.0 + rng.normal(size=(n, size)) * np.linspace(2.0, 0.1, size)
    vectors[1:] /= np.linalg.norm(vectors[1:], axis=1, keepdims=True)
    return vectors


def distances(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors[1:, None] - vectors[None, 1:], axis=2)


def test_white_vectors_have_no_common_direction_and_unit_variance() -> None:
    white = whiten(text_like(300, 20), 8)
    assert white.shape == (301, 8)
    assert not white[0].any()
    np.testing.assert_allclose(white[1:].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(white[1:].T, bias=True), np.eye(8), atol=1e-4)


def test_no_more_axes_than_the_vectors_span() -> None:
    flat = text_like(40, 3)
    white = whiten(flat, 8)
    assert (np.abs(white).max(axis=0) > 0).tolist() == [True] * 3 + [False] * 5


def test_pca_keeps_distances_up_to_one_factor_and_whitening_does_not() -> None:
    vectors = text_like(60, 12)
    apart = distances(vectors)
    pairs = apart > 0
    ratios = distances(keep_axes(vectors, 12))[pairs] / apart[pairs]
    assert ratios.max() / ratios.min() == pytest.approx(1.0, abs=1e-3)
    white = distances(whiten(vectors, 12))[pairs] / apart[pairs]
    assert white.max() / white.min() > 1.5
    ratios = distances(centre(vectors, 16))[pairs] / apart[pairs]
    assert ratios.max() / ratios.min() == pytest.approx(1.0, abs=1e-3)


def test_pca_keeps_the_axes_that_vary_most() -> None:
    """The kept ones are the best there are: the error is that of the axes left out."""
    vectors = text_like(80, 12).astype(np.float64)
    centred = vectors[1:] - vectors[1:].mean(axis=0)
    spread = np.linalg.svd(centred, compute_uv=False)
    kept = keep_axes(vectors.astype(np.float32), 5)[1:].astype(np.float64)
    back, *_ = np.linalg.lstsq(kept, centred, rcond=None)
    error = np.square(centred - kept @ back).sum()
    assert error == pytest.approx(np.square(spread[5:]).sum(), rel=1e-3)
    assert (np.diff(kept.std(axis=0)) <= 1e-6).all()


@pytest.mark.parametrize("kind", ["whitened", "pca", "centred"])
@pytest.mark.parametrize("size", [9, 14])
def test_all_kinds_are_centred_and_as_large_as_random_vectors(kind: str, size: int) -> None:
    vectors = text_like(50, 9)
    vectors[7] = 0.0
    projected = project_text(vectors, size, kind)
    assert projected.shape == (51, size)
    assert projected.dtype == np.float32
    assert not projected[[0, 7]].any()
    np.testing.assert_allclose(projected.sum(axis=0), 0, atol=1e-3)
    # Whitened axes have unit variance each, however many there are.
    wanted = 9 / size if kind == "whitened" else 1.0
    assert np.square(projected).sum() / (49 * size) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", ["whitened", "pca", "centred"])
def test_constant_vectors_become_zeros(kind: str) -> None:
    assert not project_text(np.zeros((5, 3), np.float32), 4, kind).any()
    alike = np.ones((5, 3), np.float32)
    alike[0] = 0.0
    assert np.isfinite(project_text(alike, 4, kind)).all()
    one = np.zeros((5, 3), np.float32)
    one[2] = 1.0
    assert not project_text(one, 4, kind).any()


@pytest.mark.parametrize("kind", ["whitened", "pca"])
def test_the_axes_do_not_depend_on_the_run(kind: str) -> None:
    first, second = (project_text(text_like(40, 9), 5, kind) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_centred_vectors_have_to_fit() -> None:
    with pytest.raises(ConfigError, match=r"centred.* have 9 numbers, and embedding_size is 8"):
        centre(text_like(20, 9), 8)
    # Where ids don't start from them they don't have to.
    config = SasrecConfig(embedding_size=8, max_length=4, text_projection="centred")
    training = TrainingConfig(epochs=1)
    with pytest.raises(ConfigError, match="centred"):
        SequenceRecommender(config, training).fit(planted_cycle(20))
    config = config.model_copy(update={"id_init": "random"})
    SequenceRecommender(config, training).fit(planted_cycle(20))
