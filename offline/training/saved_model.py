"""A fitted model's folder: config.json, which describes it, and weights.safetensors.

Nothing in it is executable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from model_store.errors import InputError
from model_store.files import write_atomically
from offline.training.checkpoint import load_checkpoint, save_checkpoint

CONFIG, _WEIGHTS = "config.json", "weights.safetensors"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


ModelT = TypeVar("ModelT", bound=_Named)


def save_model(folder: Path, described: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a description, as JSON values, and tensors into the folder."""
    save_checkpoint(folder / _WEIGHTS, tensors, {})
    write_atomically(folder / CONFIG, json.dumps(described, indent=2).encode())


def load_model(
    folder: Path, make: Callable[[Mapping[str, Any]], ModelT]
) -> tuple[ModelT, dict[str, Tensor]]:
    """A model without its weights, and the tensors that `save_model` wrote.

    Args:
        folder: of the model.
        make: from a description to a model; raises ValueError or KeyError where it describes none.

    Raises:
        InputError: the folder doesn't hold such a model.
    """
    try:
        model = make(json.loads((folder / CONFIG).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG}: not a saved model ({error})") from error
    found = load_checkpoint(folder / _WEIGHTS)
    if found is None:
        raise InputError(f"{folder}: doesn't hold a saved {model.name} model")
    return model, found[0]
