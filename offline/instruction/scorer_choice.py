"""The language model that a recipe or grid names as a scorer of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from model_store.errors import ConfigError
from offline.fingerprint import hash_inputs
from offline.instruction.label_scorer import LabelScorer
from offline.knowledge.config import DEFAULT_MODEL


class ScorerChoice(BaseModel):
    """A model and its adapter; nothing heavy is imported until it is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="language model: short name, Hugging Face id, folder or .gguf file",
    )
    adapter: str = Field("", description="folder of a LoRA adapter for it; empty: none")

    def check(self) -> None:
        """Check that folders are there, before any work.

        Raises:
            ConfigError: the adapter's folder isn't there.
        """
        if self.adapter and not Path(self.adapter).is_dir():
            raise ConfigError(f"adapter {self.adapter!r}: there is no such folder in {Path.cwd()}")

    def fingerprints(self) -> Mapping[str, str]:
        """Of local files, by their content.

        Raises:
            InputError: one isn't there.
        """
        places = {"language model": self.model, "adapter": self.adapter}
        return {
            name: hash_inputs([Path(place)])
            for name, place in places.items()
            if place and Path(place).exists()
        }


def open_scorer(choice: ScorerChoice, cache: Path) -> LabelScorer:
    """The model with its adapter, in this process.

    Args:
        choice: names both.
        cache: folder of downloads.

    Raises:
        ConfigError: the model can't be found or read, or the adapter's folder isn't there.
        InputError: the folder holds no adapter of this model.
    """
    from offline.instruction.adapters import merge_adapter
    from offline.instruction.label_model import LabelModel
    from offline.knowledge.causal_model import load_causal_model

    choice.check()
    model, tokenizer = load_causal_model(choice.model, cache, "auto")
    if choice.adapter:
        model = merge_adapter(model, Path(choice.adapter))
    return LabelModel(choice.model, model, tokenizer)
