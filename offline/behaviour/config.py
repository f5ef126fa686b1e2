"""Settings of tuning an encoder on behaviour; reading a recipe loads no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NAMED_LAYERS = ("all", "strata", "upper")
Layers = Literal["all", "strata", "upper"] | tuple[int, ...]
Stage = Literal["ft1", "ft2"]


class TuningConfig(BaseModel):
    """Settings of all stages; frozen, and unknown names are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_items: int = Field(
        1,
        ge=1,
        le=64,
        description="last items whose texts make a history's text; equal texts are encoded once, "
        "so that 1 costs no more an epoch than the catalogue has items",
    )
    item_tokens: int = Field(24, ge=1, le=4096, description="an item's text is cut there in tuning")
    max_tokens: int = Field(128, ge=8, le=8192, description="a history's text is cut there")
    samples_per_user: int = Field(
        0, ge=0, le=100_000, description="positions drawn of each user in an epoch; 0: all"
    )
    layers: Layers = Field(
        "upper",
        description="tuned layers: all, embeddings too; strata: the last layer of each third "
        "(Rethinking PLM table 1: layers 3, 7, 11 of 12); upper: the last third (8 to 11); or "
        "layers by number from 0",
    )
    epochs: int = Field(6, ge=1, le=10_000, description="at most, of each stage")
    batch_size: int = Field(64, ge=2, le=65_536, description="histories in a step")
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="falls to 0 after warming up")
    warm_up_share: float = Field(0.05, ge=0.0, lt=1.0, description="of all steps")
    weight_decay: float = Field(0.01, ge=0.0, le=10.0, description="of matrices, decoupled (AdamW)")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="in the layers that are tuned")
    temperature: float = Field(0.05, gt=0.0, le=10.0, description="cosines are divided by it")
    seed: int = Field(0, ge=0, lt=2**31, description="of all random draws")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where it is")

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_are_named_once(cls, layers: Any) -> Any:
        if layers in NAMED_LAYERS:
            return layers
        numbers = layers if isinstance(layers, list | tuple) else []
        counted = [n for n in numbers if type(n) is int and n >= 0]
        if not (numbers and len(set(counted)) == len(numbers)):
            raise ValueError(
                f"expected {', '.join(NAMED_LAYERS)}, or a list of layers by number, each once"
            )
        return tuple(sorted(counted))


class BehaviourConfig(TuningConfig):
    """A recipe's `[behaviour]` table: tuning on the build's own data set (FT1, FT2)."""

    stages: tuple[Stage, ...] = Field(
        (), description="none: the encoder stays as it is; ft1; or ft1 and ft2"
    )
    start: str = Field(
        "", description="folder of the encoder to start from; empty: the recipe's encoder"
    )
    patience: int = Field(2, ge=1, le=10_000, description="epochs without a better NDCG@10")
    items_by: Stage = Field("ft1", description="the stage whose encoder the items are encoded with")

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Self:
        if self.stages not in ((), ("ft1",), ("ft1", "ft2")):
            raise ValueError(f"stages {list(self.stages)}: expected [], ['ft1'] or ['ft1', 'ft2']")
        if self.items_by not in (self.stages or ("ft1",)):
            raise ValueError(f"items_by {self.items_by!r} is none of stages {list(self.stages)}")
        if self.start and not self.stages:
            raise ValueError(
                f"start {self.start!r} does nothing without stages; to encode with an encoder as "
                "it is, name it in [encoding]"
            )
        return self


class PretrainingConfig(TuningConfig):
    """Settings of `longtail pretrain-encoder`: tuning on other data sets (PT)."""

    epochs: int = Field(4, ge=1, le=10_000, description="over all data sets")
    mlm_weight: float = Field(0.1, ge=0.0, le=100.0, description="of the loss over hidden words")
    mlm_share: float = Field(0.15, gt=0.0, lt=1.0, description="tokens that are hidden")
