from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from offline.recommender.fresh import FreshRegression, fill_fresh_rows


def linear_world(noise: float, n: int = 200, seed: int = 0):
    rng = np.random.default_rng(seed)
    knowledge = rng.normal(size=(n + 1, 12)).astype(np.float32)
    true = rng.normal(size=(13, 5))
    table = np.hstack([knowledge, np.ones((n + 1, 1))]) @ true
    table += noise * rng.normal(size=table.shape)
    knowledge[0] = table[0] = 0.0
    trained = np.ones(n + 1, bool)
    trained[0] = False
    return knowledge, table.astype(np.float32), trained, true


def test_recovers_a_linear_world() -> None:
    knowledge, table, trained, true = linear_world(noise=0.0)
    projection = FreshRegression(knowledge, trained).fit(table)
    assert projection.dtype == np.float32
    np.testing.assert_allclose(projection, true, atol=0.02)


def test_shrinks_to_the_mean_where_knowledge_is_uninformative() -> None:
    knowledge, _, trained, _ = linear_world(noise=0.0)
    table = np.random.default_rng(3).normal(2.0, 1.0, size=(201, 5)).astype(np.float32)
    projection = FreshRegression(knowledge, trained).fit(table)
    np.testing.assert_allclose(projection[-1], table[1:].mean(axis=0), atol=0.1)
    assert np.abs(projection[:-1]).max() < 0.05


def test_untrained_rows_teach_nothing_and_are_filled() -> None:
    knowledge, table, trained, _ = linear_world(noise=0.0)
    wanted = table.copy()
    table[151:] = 1e6
    trained[151:] = False
    projection = FreshRegression(knowledge, trained).fit(table)
    filled = fill_fresh_rows(table, knowledge, trained, projection)
    np.testing.assert_allclose(filled[151:], wanted[151:], atol=0.1)
    np.testing.assert_array_equal(filled[1:151], table[1:151])
    assert not filled[0].any()


@pytest.mark.parametrize("n_trained", [0, 1, 5])
def test_few_trained_rows_give_their_mean(n_trained: int) -> None:
    knowledge, table, trained, _ = linear_world(noise=0.0)
    trained[1 + n_trained :] = False
    projection = FreshRegression(knowledge, trained).fit(table)
    assert projection.shape == (13, 5)
    assert not projection[:-1].any()
    wanted = table[1 : 1 + n_trained].mean(axis=0) if n_trained else np.zeros(5)
    np.testing.assert_allclose(projection[-1], wanted, rtol=1e-5)


def test_is_a_ridge_regression_whose_penalty_suits_the_noise() -> None:
    def ridge(penalty: float):
        inputs, targets = (part[1:].astype(np.float64) for part in (knowledge, table))
        inputs, targets = inputs - inputs.mean(axis=0), targets - targets.mean(axis=0)
        gram = inputs.T @ inputs
        unit = np.trace(gram) / len(gram)
        return np.linalg.solve(gram + penalty * unit * np.eye(len(gram)), inputs.T @ targets)

    shrunk = []
    for noise in (0.1, 30.0):
        knowledge, table, trained, _ = linear_world(noise)
        projection = FreshRegression(knowledge, trained).fit(table)
        fits = [np.allclose(projection[:-1], ridge(p), atol=1e-4) for p in np.logspace(-3, 3, 7)]
        assert sum(fits) == 1
        shrunk.append(fits.index(True))
    assert shrunk[0] < shrunk[1]


def test_a_large_catalogue_is_read_in_parts() -> None:
    knowledge, table, trained, _ = linear_world(noise=1.0, n=40_000)
    knowledge = np.tile(knowledge, 8)
    tracemalloc.start()
    FreshRegression(knowledge, trained).fit(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * knowledge.nbytes
