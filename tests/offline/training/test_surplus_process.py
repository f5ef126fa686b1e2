"""A process of a group that finds all GPUs of its machine taken."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from model_store.errors import ConfigError
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.sequential import SequenceRecommender
from offline.training.group import check_own_gpu, launched_group
from offline.training.pace import Pace
from tests.offline.recommender.planted import planted_cycle

WHY = "process 2 of this machine has no GPU of its own: start as many processes as GPUs, or set"


@pytest.fixture(autouse=True)
def third_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun starts it on a machine with two GPUs; nobody else is there."""
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _place: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **_choices: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)


def begin_training(device: Literal["auto", "cpu", "cuda"]) -> Pace:
    config = SasrecConfig(embedding_size=4, layers=1, max_length=4)
    return SequenceRecommender(config, TrainingConfig(device=device)).measure_pace(planted_cycle())


def test_it_takes_no_gpu_of_another() -> None:
    with launched_group() as group:
        assert (group.rank, group.size) == (2, 3)
        with pytest.raises(ConfigError, match=WHY):
            begin_training("auto")
        with pytest.raises(ConfigError, match=WHY):
            begin_training("cuda")
        with pytest.raises(ConfigError, match=WHY):
            SentenceEncoder("no/such-encoder", Path())
    check_own_gpu()


def test_it_may_train_on_its_cpu() -> None:
    with launched_group():
        assert begin_training("cpu").n_measured > 0


@pytest.mark.parametrize("n_gpus", [0, 3])
def test_it_is_none_where_there_are_no_gpus_or_enough(
    n_gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with launched_group():
        check_own_gpu()
