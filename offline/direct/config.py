"""Settings of a direct model and its training, with their valid ranges.

Read by recipes, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class FactorConfig(BaseModel):
    """Settings of every direct model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(64, ge=4, le=1024, description="D, size of an item_table row")
    max_length: int = Field(
        1000, ge=1, le=4096, description="last history items that a user is folded in from"
    )
    epochs: int = Field(80, ge=1, le=10_000, description="at most; early stopping ends sooner")
    patience: int = Field(12, ge=1, le=10_000, description="epochs without a better NDCG@10")
    batch_size: int = Field(8192, ge=1, le=1_000_000, description="interactions in a step")
    learning_rate: float = Field(0.02, gt=0.0, le=1.0, description="of Adam")
    regularisation: float = Field(
        1e-3, ge=0.0, le=10.0, description="of the vectors in a batch, by their squared lengths"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of all random draws")


class MfConfig(FactorConfig):
    """Matrix factorisation: a vector for each user and item, and nothing between them."""

    model: Literal["mf"] = "mf"


class GraphConfig(FactorConfig):
    """Vectors that are propagated over the graph of interactions."""

    layers: int = Field(2, ge=1, le=8, description="of propagation")


class LightgcnConfig(GraphConfig):
    """Means of a node's vectors over the layers of propagation."""

    model: Literal["lightgcn"] = "lightgcn"


class SglConfig(GraphConfig):
    """LightGCN, and a contrast between two views of the graph."""

    model: Literal["sgl"] = "sgl"
    edge_dropout: float = Field(
        0.1, gt=0.0, lt=1.0, description="share of the interactions that each view lacks"
    )
    contrast_weight: float = Field(0.1, gt=0.0, le=100.0, description="next to BPR's loss")
    contrast_temperature: float = Field(0.2, gt=0.0, le=10.0, description="of the contrast")


class MixgcfConfig(GraphConfig):
    """LightGCN, with negatives mixed of several items over the layers."""

    model: Literal["mixgcf"] = "mixgcf"
    candidates: int = Field(8, ge=1, le=256, description="items that a negative is mixed from")


def _model_of(values: Any) -> str:
    if isinstance(values, dict):
        return str(values.get("model", "lightgcn"))
    return str(getattr(values, "model", values))


DirectConfig = Annotated[
    Annotated[LightgcnConfig, Tag("lightgcn")]
    | Annotated[MfConfig, Tag("mf")]
    | Annotated[SglConfig, Tag("sgl")]
    | Annotated[MixgcfConfig, Tag("mixgcf")],
    Discriminator(
        _model_of,
        custom_error_type="direct_model",
        custom_error_message="model is none of lightgcn, mf, sgl, mixgcf",
    ),
]
"""The settings of one model; `model` names it, by default "lightgcn"."""
