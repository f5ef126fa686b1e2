from __future__ import annotations

import logging
import timeit
from collections.abc import Callable

import numpy as np
import pytest

from app.model import inference
from app.model.arrays import IndexArray
from app.model.inference import CPU, CUDA, SequenceModel, open_session
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import ConfigError


def device_is_there(bundle: Bundle) -> bool:
    return open_session(bundle.folder / files.MODEL, "auto").get_providers()[0] == CUDA


def sequence(bundle: Bundle, provider: inference.Provider) -> SequenceModel:
    session = open_session(bundle.folder / files.MODEL, provider)
    return SequenceModel(session, bundle.item_table, bundle.manifest.model.max_length)


def test_a_cuda_that_is_not_there_is_rejected(synthetic_bundle: Bundle) -> None:
    """The runtime goes on without it, and at most logs that."""
    if device_is_there(synthetic_bundle):
        pytest.skip("there is a device")
    with pytest.raises(ConfigError, match=r"PROVIDER=cuda: model\.onnx runs on"):
        open_session(synthetic_bundle.folder / files.MODEL, "cuda")


def test_a_driver_without_a_usable_device_is_reported(
    synthetic_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if device_is_there(synthetic_bundle):
        pytest.skip("there is a device")
    monkeypatch.setattr(inference, "_has_driver", lambda: True)
    with caplog.at_level(logging.WARNING):
        session = open_session(synthetic_bundle.folder / files.MODEL, "auto")
    assert session.get_providers() == [CPU]
    assert f"{CUDA} is not usable here" in caplog.text


def test_one_output_for_all_lengths_in_their_order(synthetic_bundle: Bundle) -> None:
    model = sequence(synthetic_bundle, "cpu")
    rng = np.random.default_rng(0)
    histories = [
        rng.integers(1, len(model.table), length).astype(np.int32)
        for length in (3, 50, 1, 120, 7, 49)
    ]
    users = model.user_vectors(histories)
    for history, user, scores in zip(histories, users, model.scores(histories), strict=True):
        [alone] = model.scores([history])
        np.testing.assert_allclose(scores, alone, atol=1e-5)
        np.testing.assert_allclose(model.table @ user, alone, atol=1e-5)


def test_a_user_vector_costs_nothing_for_each_item(synthetic_bundle: Bundle) -> None:
    size = synthetic_bundle.item_table.shape[1]
    large = np.ones((1_000_000, size), dtype=np.float32)
    model = sequence(synthetic_bundle, "cpu").with_table(large)
    history = np.arange(1, 20, dtype=np.int32)

    def fastest_s(ask: Callable[[list[IndexArray]], object]) -> float:
        return min(timeit.repeat(lambda: ask([history]), number=1, repeat=5))

    assert fastest_s(model.user_vectors) < fastest_s(model.scores) / 4


@pytest.mark.accelerator
def test_a_device_answers_as_the_cpu_does(synthetic_bundle: Bundle) -> None:
    if not device_is_there(synthetic_bundle):
        pytest.skip("there is no CUDA device")
    history = np.arange(1, 20, dtype=np.int32)
    on_device, on_cpu = sequence(synthetic_bundle, "cuda"), sequence(synthetic_bundle, "cpu")
    assert on_device.execution_provider == CUDA
    for ask in ("scores", "user_vectors"):
        [found], [wanted] = (getattr(model, ask)([history]) for model in (on_device, on_cpu))
        np.testing.assert_allclose(found, wanted, atol=1e-3)
