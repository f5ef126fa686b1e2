"""Phases of a training: the trained part of the network (Rethinking PLM, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from offline.recommender.config import IdTraining, TrainingConfig
from offline.recommender.item_encoder import ItemEncoder
from offline.training.trainer import Phase

PhaseName = Literal["all", "frozen", "ids"]

_PHASES: dict[IdTraining, tuple[PhaseName, ...]] = {
    "trainable": ("all",),
    "frozen": ("frozen",),
    "further-all": ("frozen", "all"),
    "further-ids": ("frozen", "ids"),
}


def phases_of(config: TrainingConfig, epochs: Sequence[int] | None = None) -> tuple[Phase, ...]:
    """A training's phases, in order; each begins with the best weights of those before.

    Args:
        config: how to train; its `epochs` are those of each phase.
        epochs: of each phase, instead; missing phases have none.
    """
    names = _PHASES[config.id_training]
    given = [config.epochs] * len(names) if epochs is None else [*epochs, 0]
    return tuple(Phase(name, number) for name, number in zip(names, given, strict=False))


def choose_trained(network: nn.Module, phase: str) -> None:
    """Let a phase's parameters have gradients, and no others.

    Args:
        network: owner of the parameters.
        phase: all; frozen, all but the id embeddings; ids, these alone. A projection of
            [id ; knowledge] goes with the network, not with the ids.
    """
    ids = {id(part.ids) for part in network.modules() if isinstance(part, ItemEncoder)}
    for parameter in network.parameters():
        of_ids = id(parameter) in ids
        parameter.requires_grad_(phase == "all" or of_ids == (phase == "ids"))
