"""The language model that a recipe or grid names as a scorer of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from model_store.errors import ConfigError
from model_store.rerank_prompt import PromptLayout
from offline.fingerprint import hash_inputs
from offline.instruction.label_scorer import LabelScorer
from offline.instruction.reranking_config import BUNDLED, LAYOUT
from offline.knowledge.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from offline.instruction.label_model import LabelModel


class ScorerChoice(BaseModel):
    """A model and its adapter; nothing heavy is imported until it is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="language model: short name, Hugging Face id, folder or .gguf file",
    )
    adapter: str = Field(
        "",
        description="folder of a LoRA adapter for it, or the name of one that comes with Longtail; "
        "empty: none",
    )
    precision: Literal["float32", "int8"] = Field(
        "float32",
        description="int8: the graph that a service runs on a CPU, which is faster and answers "
        "nearly the same; float32: the model as it was tuned",
    )

    @property
    def adapter_folder(self) -> Path | None:
        """The adapter's folder, whether it is there or not; None without an adapter."""
        if not self.adapter:
            return None
        bundled = BUNDLED / self.adapter
        return bundled if bundled.is_dir() else Path(self.adapter).expanduser()

    @property
    def tuned_layout(self) -> PromptLayout | None:
        """The layout of the prompts that the adapter was tuned with; None where it isn't known.

        Raises:
            ConfigError: the file that states it can't be read.
        """
        folder = self.adapter_folder
        if folder is None or not (folder / LAYOUT).is_file():
            return None
        try:
            return PromptLayout.model_validate_json((folder / LAYOUT).read_bytes())
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"adapter {self.adapter!r}: {LAYOUT}: {reason}") from error

    def check(self) -> None:
        """Check that folders are there, before any work.

        Raises:
            ConfigError: the adapter's folder isn't there.
        """
        folder = self.adapter_folder
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"adapter {self.adapter!r}: there is no such folder in {Path.cwd()}")

    def fingerprints(self) -> Mapping[str, str]:
        """Of local files, by their content.

        Raises:
            InputError: one isn't there.
        """
        places = {"language model": Path(self.model), "adapter": self.adapter_folder}
        return {
            name: hash_inputs([place])
            for name, place in places.items()
            if place is not None and place.exists()
        }


def open_scorer(
    choice: ScorerChoice, cache: Path, prompts: Sequence[str], n_labels: Sequence[int]
) -> LabelScorer:
    """The model with its adapter, in this process.

    Args:
        choice: names both.
        cache: folder of downloads.
        prompts: at least one, like those that it will be asked; the scales of a graph in 8 bits
            are set by some of them.
        n_labels: of each prompt.

    Raises:
        ConfigError: the model can't be found or read, or the adapter's folder isn't there.
        InputError: the folder holds no adapter of this model.
    """
    from offline.instruction.adapters import merge_adapter
    from offline.instruction.label_graph import CALIBRATION_PROMPTS
    from offline.instruction.label_model import LabelModel
    from offline.knowledge.causal_model import load_causal_model

    choice.check()
    is_graph = choice.precision == "int8"
    model, tokenizer = load_causal_model(choice.model, cache, "cpu" if is_graph else "auto")
    if choice.adapter_folder is not None:
        model = merge_adapter(model, choice.adapter_folder)
    label_model = LabelModel(choice.model, model, tokenizer)
    if not is_graph:
        return label_model
    chosen = np.linspace(0, len(prompts) - 1, min(CALIBRATION_PROMPTS, len(prompts))).astype(int)
    return _as_served(label_model, [prompts[n] for n in chosen], [n_labels[n] for n in chosen])


def _as_served(model: LabelModel, prompts: Sequence[str], n_labels: Sequence[int]) -> LabelScorer:
    """The model's graph with weights of 8 bits."""
    import torch

    from offline.instruction.label_graph import export_label_graph
    from offline.instruction.onnx_scorer import OnnxLabelScorer

    with TemporaryDirectory() as folder:
        graph = export_label_graph(model, Path(folder), "int8", prompts, n_labels)
        return OnnxLabelScorer.open(Path(folder), graph, torch.get_num_threads())
