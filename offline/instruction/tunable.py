"""Opens a language model to be tuned, and one that was tuned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from offline.instruction.adapters import (
    TunedWeights,
    add_adapter,
    merge_adapter,
    save_adapter,
    start_from,
)
from offline.instruction.config import InstructionTuningConfig
from offline.instruction.label_model import LabelModel
from offline.knowledge.causal_model import load_causal_model
from offline.training.seeds import seeded


@dataclass(frozen=True)
class Tunable:
    """A language model of which some weights are tuned.

    Attributes:
        model: scores labels with the weights as they are now.
        weights: those that are tuned.
        adapted: peft's model around it; None where all weights are tuned.
    """

    model: LabelModel
    weights: TunedWeights
    adapted: Any | None

    def save(self, folder: Path) -> None:
        """Write the adapter, or the whole model with its tokenizer, into a folder."""
        if self.adapted is not None:
            save_adapter(self.adapted, self.model.name, folder)
            return
        self.model.model.save_pretrained(folder)
        self.model.encoder.tokenizer.save_pretrained(folder)


def open_tunable(config: InstructionTuningConfig, cache: Path) -> Tunable:
    """Load a language model, and give gradients to the weights that are tuned.

    Raises:
        ConfigError: it can't be read or ranked with, or has no layers of the adapter's names.
        InputError: the adapter to go on from can't be read, or is of another shape.
    """
    # Small steps are lost in the rounding of bfloat16; an adapter's weights are float32 anyway.
    dtype = torch.float32 if config.method == "full" else None
    model, tokenizer = load_causal_model(config.model, cache, config.device, dtype)
    adapted = None
    if config.method == "lora":
        with seeded(config.seed):
            adapted = add_adapter(model, config.model, config, config.adapter_dropout)
        if config.start:
            start_from(adapted, Path(config.start))
        model = adapted.get_base_model()
    return Tunable(LabelModel(config.model, model, tokenizer), TunedWeights(model), adapted)


def open_tuned(config: InstructionTuningConfig, folder: Path, cache: Path) -> LabelModel:
    """The model that `Tunable.save` wrote into a folder, an adapter added to its weights.

    Args:
        config: that it was tuned with.
        folder: with the adapter, or the whole model.
        cache: folder of downloads.

    Raises:
        ConfigError: the language model can't be read.
        InputError: the folder holds no adapter of it.
    """
    if config.method == "full":
        model, tokenizer = load_causal_model(str(folder), cache, config.device)
    else:
        model, tokenizer = load_causal_model(config.model, cache, config.device)
        model = merge_adapter(model, folder)
    return LabelModel(config.model, model, tokenizer)
