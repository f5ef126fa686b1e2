"""Settings of a bundle's reranker; reading a recipe loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from model_store.errors import ConfigError
from model_store.rerank_prompt import PromptLayout
from offline.instruction.config import InstructionConfig, InstructionTuningConfig

BUNDLED = Path(__file__).parent / "bundled"
LAYOUT = "layout.json"
"""In an adapter's folder: the layout of the prompts that it was tuned with."""
_ADAPTER = "adapter_model.safetensors"


class RerankingConfig(BaseModel):
    """Which language model reranks for tail users (Llama4Rec 4.4 and 4.5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: str = Field(
        "",
        description="folder of a tuned LoRA adapter, with layout.json, or the name of one that "
        "comes with Longtail; empty: the data set's, where one comes with Longtail, or none",
    )
    tune: bool = Field(
        False, description="tune the language model on the data's training part; hours on a CPU"
    )
    instruction: InstructionConfig = Field(
        InstructionConfig(), description="examples and prompts, with tune"
    )
    tuning: InstructionTuningConfig = Field(
        InstructionTuningConfig(), description="the language model, and how it is tuned"
    )
    precision: Literal["int8", "float32"] = Field(
        "int8", description="of the exported language model"
    )

    @property
    def is_wanted(self) -> bool:
        """Whether a bundle gets a reranker."""
        return self.tune or bool(self.adapter)

    def for_data_set(self, name: str | None) -> RerankingConfig:
        """The choices with the adapter that comes for a data set, where they have no model.

        Args:
            name: of a data set that is known by name; None for other data.
        """
        if self.is_wanted or not name or not (BUNDLED / name / _ADAPTER).is_file():
            return self
        return self.model_copy(update={"adapter": name})

    def adapter_folder(self) -> Path:
        """Folder of the named adapter.

        Raises:
            ConfigError: there is none.
        """
        bundled = BUNDLED / self.adapter
        folder = bundled if bundled.is_dir() else Path(self.adapter).expanduser()
        for name in (LAYOUT, _ADAPTER):
            if not (folder / name).is_file():
                raise ConfigError(f"reranking.adapter = {self.adapter!r}: {folder} has no {name}")
        return folder

    def layout(self) -> PromptLayout:
        """Of the prompts that the model is tuned with.

        Raises:
            ConfigError: the adapter's can't be read.
        """
        if self.tune:
            return self.instruction.layout
        path = self.adapter_folder() / LAYOUT
        try:
            return PromptLayout.model_validate_json(path.read_bytes())
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"reranking.adapter: {path} is no layout ({reason})") from error
