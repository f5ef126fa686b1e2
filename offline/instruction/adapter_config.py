"""Settings of an adapter of low rank (LoRA); reading a recipe loads no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class AdapterConfig(BaseModel):
    """Which weights of a language model are tuned; unknown names are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["lora", "full"] = Field(
        "lora", description="lora: an adapter of low rank; full: all parameters, as in the paper"
    )
    rank: int = Field(8, ge=1, le=1_024, description="of the adapter")
    alpha: int = Field(16, ge=1, description="scale of the adapter, divided by its rank")
    modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        min_length=1,
        description="names of the adapted linear layers",
    )
    upper_layers: int = Field(
        0,
        ge=0,
        le=10_000,
        description="the adapter is in so many of the last layers; those below cost no backward "
        "pass. 0: in all",
    )
