"""Trainer and generator as two processes of one machine: who computes where, and with what."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from offline.alignment.asynchronous import AsynchronousSource
from offline.alignment.config import AlignmentConfig
from offline.alignment.inputs import AlignmentInputs
from offline.alignment.learner import AlignmentLearner
from offline.alignment.models import Models, open_models
from offline.alignment.run import INPUTS, OpenSource
from offline.alignment.samplers import OnlineSampler

Device = Literal["auto", "cpu", "cuda"]

_FOLDER = "asynchronous"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def asynchronous(work: Path, cache: Path) -> OpenSource:
    """Texts that another process samples with weights of some steps ago.

    Args:
        work: the alignment's working folder.
        cache: folder of downloads.
    """

    def open_source(models: Models, learner: AlignmentLearner) -> TwoProcesses:
        return TwoProcesses(models, learner, work, cache)

    return open_source


class TwoProcesses(AsynchronousSource):
    """An `AsynchronousSource` of an alignment's own models; threads are divided while it is open.

    Args:
        models: of the trainer.
        learner: at the step that it goes on from.
        work: the alignment's working folder.
        cache: folder of downloads.
    """

    def __init__(self, models: Models, learner: AlignmentLearner, work: Path, cache: Path) -> None:
        config = models.inputs.settings.alignment
        self._n_threads = torch.get_num_threads()
        own, others = divide_threads(self._n_threads, config.generator_threads)
        torch.set_num_threads(own)
        device, environment = place_generator(
            config, models.policy.model.device.type, torch.cuda.device_count(), os.environ
        )
        command = [
            *(sys.executable, "-P", "-m", "offline.alignment.generator"),
            *("--work", str(work), "--cache", str(cache), "--device", device),
        ]
        environment = {**environment, "OMP_NUM_THREADS": str(others)}
        super().__init__(learner, learner.n_steps, config, work / _FOLDER, command, environment)

    def close(self) -> None:
        """End the generator's process, and take its threads."""
        super().close()
        torch.set_num_threads(self._n_threads)


def divide_threads(n_threads: int, of_generator: int) -> tuple[int, int]:
    """How many threads the trainer and the generator get, one each at least.

    Args:
        n_threads: that there are.
        of_generator: as asked for; 0: half.
    """
    others = of_generator or max(n_threads // 2, 1)
    return max(n_threads - others, 1), others


def place_generator(
    config: AlignmentConfig, of_trainer: str, n_gpus: int, environment: Mapping[str, str]
) -> tuple[Device, dict[str, str]]:
    """Where the generator computes: its device, and variables of its environment.

    Args:
        config: settings.
        of_trainer: type of the trainer's device, "cpu" or "cuda"; the first GPU that it sees.
        n_gpus: that the trainer sees.
        environment: of the trainer.
    """
    if config.generator_device != "auto":
        device = config.generator_device
    else:
        device = "cuda" if of_trainer == "cuda" else "cpu"
    if device == "cpu" or of_trainer == "cpu" or n_gpus < 2:
        return device, {}
    seen = environment.get(_VISIBLE) or ",".join(str(number) for number in range(n_gpus))
    return device, {_VISIBLE: seen.split(",")[1]}


def open_sampler(work: Path, cache: Path, device: Device) -> OnlineSampler:
    """The sampler of an alignment in the generator's process.

    Args:
        work: the alignment's working folder; its trainer has fitted the recommenders there.
        cache: folder of downloads.
        device: to sample on.
    """
    inputs = AlignmentInputs.load(work / INPUTS)
    alignment = inputs.settings.alignment.model_copy(update={"device": device})
    settings = inputs.settings.model_copy(update={"alignment": alignment})
    models = open_models(replace(inputs, settings=settings), work, cache)
    return OnlineSampler(models.policy, models.prompts, models.judge, models.examples, alignment)
