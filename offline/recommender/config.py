"""What may be chosen about a recommender and its training, with the ranges that make sense.

Read by recipes, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SasrecConfig(BaseModel):
    """The shape of a SASRec network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(64, ge=4, le=1024, description="D, size of an item_table row")
    layers: int = Field(2, ge=1, le=16)
    heads: int = Field(2, ge=1, le=32)
    feedforward_factor: int = Field(1, ge=1, le=8, description="hidden size over D")
    max_length: int = Field(100, ge=1, le=4096, description="history items that are looked at")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="on inputs, residuals and hidden units")
    id_init: Literal["random", "text"] = Field(
        "text", description="text: whitened knowledge vectors, where there are any"
    )
    knowledge_beside_ids: bool = Field(
        True, description="give [id ; knowledge] to the network; False: ids alone"
    )

    @model_validator(mode="after")
    def _heads_get_an_even_size(self) -> Self:
        if self.embedding_size % (2 * self.heads):
            raise ValueError(
                f"embedding_size {self.embedding_size} is not an even multiple of "
                f"heads {self.heads}"
            )
        return self


class TrainingConfig(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(100, ge=1, le=10_000, description="at most; early stopping ends sooner")
    patience: int = Field(20, ge=1, le=10_000, description="epochs without a better NDCG@10")
    batch_size: int = Field(32, ge=1, le=65_536, description="sequences in a step")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0)
    weight_decay: float = Field(0.0, ge=0.0, le=10.0)
    warm_up_steps: int = Field(100, ge=0, le=1_000_000)
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    sampled_negatives: int = Field(
        0, ge=0, le=1_000_000, description="0: the whole catalogue is in every softmax"
    )
    seed: int = Field(0, ge=0, lt=2**31)
    device: Literal["auto", "cpu", "cuda"] = Field("cpu", description="auto: cuda where it is")

    @model_validator(mode="after")
    def _smoothing_needs_the_whole_catalogue(self) -> Self:
        if self.label_smoothing and self.sampled_negatives:
            raise ValueError(
                f"label_smoothing {self.label_smoothing} works only with sampled_negatives 0, "
                f"not {self.sampled_negatives}"
            )
        return self
