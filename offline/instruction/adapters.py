"""The part of a language model that is tuned: an adapter of low rank (LoRA), or all of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model_store.errors import ConfigError, InputError
from offline.instruction.adapter_config import AdapterConfig

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


class TunedWeights(torch.nn.Module):
    """The parameters of a model that have gradients, each once, as a module of their own.

    A checkpoint of it holds these alone, and holds a weight that two layers share once.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._models = [model]  # in a list, so that it is no part of this module
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(name.replace(".", "/"), parameter)

    def train(self, mode: bool = True) -> Self:
        """Set the whole model's mode."""
        self._models[0].train(mode)
        return super().train(mode)

    @property
    def n_parameters(self) -> int:
        """How many numbers are tuned."""
        return sum(parameter.numel() for parameter in self.parameters())


def add_adapter(model: Any, name: str, config: AdapterConfig, dropout: float = 0.0) -> Any:
    """Put an adapter that changes nothing yet into a model's layers; only it has gradients.

    Its random numbers come from torch's generator.

    Args:
        model: the language model.
        name: of it, for messages.
        config: rank and layers.
        dropout: share of the adapter's inputs that is left out while it is tuned.

    Returns:
        peft's model around the same one.

    Raises:
        ConfigError: the model has no layers of these names, or fewer layers than are adapted.
    """
    n_layers = model.config.get_text_config().num_hidden_layers
    if config.upper_layers > n_layers:
        raise ConfigError(f"upper_layers {config.upper_layers}: {name!r} has {n_layers} layers")
    upper = range(n_layers - config.upper_layers, n_layers) if config.upper_layers else None
    described = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=dropout,
        target_modules=[*config.modules],
        layers_to_transform=None if upper is None else [*upper],
        task_type="CAUSAL_LM",
    )
    try:
        with _peft_as_it_is():
            return peft.get_peft_model(model, described)
    except ValueError as error:
        raise ConfigError(
            f"modules {', '.join(config.modules)}: {name!r} has no linear layers of these names"
        ) from error


def start_from(adapted: Any, folder: Path) -> None:
    """Give an adapter the weights of one that `save_adapter` wrote.

    Args:
        adapted: from `add_adapter`.
        folder: of the other adapter.

    Raises:
        InputError: the folder holds no adapter of the same rank in the same layers.
    """
    own = peft.get_peft_model_state_dict(adapted)
    try:
        tensors = load_file(folder / ADAPTER)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / ADAPTER}: not a readable adapter ({error})") from error
    if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in own.items()}:
        raise InputError(f"{folder}: its adapter is of another rank, or in other layers")
    peft.set_peft_model_state_dict(adapted, {k: t.to(own[k].dtype) for k, t in tensors.items()})


def save_adapter(adapted: Any, name: str, folder: Path) -> None:
    """Write an adapter as peft reads it, in half precision: float16 safetensors and a JSON file.

    Args:
        adapted: from `add_adapter`.
        name: of the language model that it belongs to.
        folder: gets both files.
    """
    adapted.peft_config["default"].base_model_name_or_path = name
    adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a template without content
    tensors = load_file(folder / ADAPTER)
    save_file({key: tensor.half() for key, tensor in tensors.items()}, folder / ADAPTER)


def merge_adapter(model: Any, folder: Path) -> Any:
    """A model with an adapter of `save_adapter` added to its weights.

    Raises:
        InputError: the folder holds no adapter of this model.
    """
    if not all((folder / name).is_file() for name in (ADAPTER, ADAPTER_CONFIG)):
        raise InputError(f"{folder}: holds no adapter ({ADAPTER}, {ADAPTER_CONFIG})")
    try:
        with _peft_as_it_is():
            return peft.PeftModel.from_pretrained(model, folder).merge_and_unload()
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{folder}: not an adapter of this model ({reason})") from error


@contextlib.contextmanager
def _peft_as_it_is() -> Iterator[None]:
    """Without its warning about transformers 6, which is no concern of a person who builds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield
