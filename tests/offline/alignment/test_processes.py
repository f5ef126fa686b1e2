"""An alignment whose texts another process samples, with tiny models."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.modes import source_of
from offline.alignment.processes import divide_threads, place_generator
from offline.alignment.run import WORK, align
from offline.alignment.watch import read_figures
from tests.offline.alignment.world import make_inputs, make_models


@pytest.mark.slow  # another process loads torch
def test_an_alignment_runs_in_two_processes(tmp_path: Path) -> None:
    tiny, folder, cache = make_models(tmp_path), tmp_path / "out", tmp_path / "cache"
    inputs = make_inputs(tiny, mode="asynchronous", steps=5, refresh_every=2, queue_size=2)
    n_threads, others = torch.get_num_threads(), psutil.Process().children()
    source = source_of(inputs.settings.alignment, folder / WORK, cache)
    report = align(inputs, folder, cache, source)
    assert report["steps"] == 5
    figures = read_figures(folder)
    assert [line["step"] for line in figures] == [1, 2, 3, 4, 5]
    assert figures[0]["asynchronous/staleness_max"] == 0
    assert 1 <= figures[-1]["asynchronous/staleness_max"] <= 3
    assert 0 < figures[-1]["asynchronous/staleness_mean"] < 3
    assert 0 <= figures[-1]["asynchronous/trainer_waits"] < 1
    # The first batch is from before the first update, and read by the same weights.
    assert figures[0]["llm/importance_ratio"] == 1.0
    assert figures[0]["llm/kl_per_token"] == pytest.approx(0.0, abs=1e-6)
    assert figures[-1]["llm/importance_ratio"] != 1.0
    assert psutil.Process().children() == others
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize(
    ("n_threads", "of_generator", "expected"),
    [
        (1, 0, (1, 1)),
        (2, 0, (1, 1)),
        (5, 0, (3, 2)),
        (8, 6, (2, 6)),
        (4, 9, (1, 9)),
    ],
)
def test_threads_are_divided(n_threads: int, of_generator: int, expected: tuple[int, int]) -> None:
    assert divide_threads(n_threads, of_generator) == expected


@pytest.mark.parametrize(
    ("choice", "of_trainer", "n_gpus", "visible", "expected"),
    [
        ("auto", "cpu", 0, None, ("cpu", {})),
        ("auto", "cpu", 2, None, ("cpu", {})),
        ("auto", "cuda", 1, None, ("cuda", {})),
        ("auto", "cuda", 2, None, ("cuda", {"CUDA_VISIBLE_DEVICES": "1"})),
        ("auto", "cuda", 2, "3,5", ("cuda", {"CUDA_VISIBLE_DEVICES": "5"})),
        ("cuda", "cuda", 4, None, ("cuda", {"CUDA_VISIBLE_DEVICES": "1"})),
        ("cuda", "cpu", 2, None, ("cuda", {})),
        ("cpu", "cuda", 2, None, ("cpu", {})),
    ],
)
def test_the_generator_has_a_gpu_of_its_own_where_there_are_two(
    choice: str,
    of_trainer: str,
    n_gpus: int,
    visible: str | None,
    expected: tuple[str, dict[str, str]],
) -> None:
    config = AlignmentConfig.model_validate({"generator_device": choice})
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert place_generator(config, of_trainer, n_gpus, environment) == expected
