"""Chooses the tuned layers of an encoder (Rethinking PLM 3.3 and table 1)."""

from __future__ import annotations

import torch

from model_store.errors import ConfigError
from offline.behaviour.config import Layers

STRATA = 3


def layers_of(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The list of a Hugging Face encoder's layers, from the lowest.

    Raises:
        ConfigError: there is no such list.
    """
    wanted = getattr(getattr(model, "config", None), "num_hidden_layers", 0)
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted > 0:
            return module
    raise ConfigError(f"{type(model).__name__}: no list of layers was found in this encoder")


def chosen_layers(layers: Layers, n_layers: int) -> list[int]:
    """Numbers of the layers that are tuned, ascending.

    Of twelve layers in three strata, "strata" is the last of each, 3, 7 and 11, and "upper" the
    last stratum, 8 to 11; of six they are 1, 3 and 5, and 4 and 5.

    Raises:
        ConfigError: a layer is named that isn't there.
    """
    if layers == "all":
        return list(range(n_layers))
    if layers == "strata":
        ends = {(stratum + 1) * n_layers // STRATA - 1 for stratum in range(STRATA)}
        return sorted(end for end in ends if end >= 0)
    if layers == "upper":
        return list(range(n_layers * (STRATA - 1) // STRATA, n_layers))
    if layers[-1] >= n_layers:
        raise ConfigError(f"layers {list(layers)}: the encoder's are 0 to {n_layers - 1}")
    return list(layers)


def choose_parameters(model: torch.nn.Module, layers: Layers, dropout: float) -> int:
    """Enable gradients for the chosen layers only, and set dropout there; it is 0 elsewhere.

    With "all" the embeddings are tuned too. A pooler, which mean pooling doesn't use, never is.

    Returns:
        The number of lowest layers that stay as they are, with all below them.

    Raises:
        ConfigError: a layer is named that isn't there.
    """
    stack = layers_of(model)
    numbers = chosen_layers(layers, len(stack))
    everything = layers == "all"
    model.requires_grad_(everything)
    _set_dropout(model, dropout if everything else 0.0)
    for number in numbers:
        stack[number].requires_grad_(True)
        _set_dropout(stack[number], dropout)
    if isinstance(pooler := getattr(model, "pooler", None), torch.nn.Module):
        pooler.requires_grad_(False)
    return 0 if everything else numbers[0]


def _set_dropout(module: torch.nn.Module, dropout: float) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = dropout
