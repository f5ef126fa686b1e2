"""Settings of rating networks and their training, with their valid ranges.

Read by recipes, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Units = Annotated[int, Field(ge=1, le=4096)]


class RatingNetworkConfig(BaseModel):
    """Settings of every rating network, and of its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(16, ge=1, le=1024, description="D, of each field's embedding")
    dropout: float = Field(0.3, ge=0.0, le=0.99, description="on hidden units")
    epochs: int = Field(60, ge=1, le=10_000, description="at most")
    patience: int = Field(3, ge=1, le=10_000, description="epochs without a better validation RMSE")
    batch_size: int = Field(512, ge=1, le=1_000_000, description="ratings in a step")
    learning_rate: float = Field(0.003, gt=0.0, le=1.0, description="of AdamW")
    weight_decay: float = Field(0.1, ge=0.0, le=100.0, description="of embeddings and matrices")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of weights and order; --seed changes it")
    max_ranked: int = Field(
        5_000,
        ge=10,
        le=1_000_000,
        description="items that a request for recommendations ranks, the most popular allowed ones",
    )


class DeepNetworkConfig(RatingNetworkConfig):
    """A network with a perceptron."""

    hidden: tuple[Units, ...] = Field(
        (64, 32), min_length=1, max_length=16, description="units of the perceptron's layers"
    )


class DeepFmConfig(DeepNetworkConfig):
    """A factorisation machine beside a perceptron."""

    network: Literal["deepfm"] = "deepfm"


class NfmConfig(DeepNetworkConfig):
    """A perceptron over the sum of all products of two fields."""

    network: Literal["nfm"] = "nfm"


class DcnConfig(DeepNetworkConfig):
    """Cross layers beside a perceptron."""

    network: Literal["dcn"] = "dcn"
    cross_layers: int = Field(2, ge=1, le=16, description="each with products of one degree more")


class AfmConfig(RatingNetworkConfig):
    """A factorisation machine whose pairs are weighed by attention."""

    network: Literal["afm"] = "afm"
    attention_size: Units = Field(16, description="units of the attention network")


class XDeepFmConfig(DeepNetworkConfig):
    """A compressed interaction network beside a perceptron."""

    network: Literal["xdeepfm"] = "xdeepfm"
    maps: tuple[Units, ...] = Field(
        (16, 16), min_length=1, max_length=16, description="feature maps of each layer"
    )


class AutoIntConfig(RatingNetworkConfig):
    """Self-attention between the fields."""

    network: Literal["autoint"] = "autoint"
    layers: int = Field(2, ge=1, le=16, description="of attention")
    heads: int = Field(2, ge=1, le=32, description="of attention in a layer")
    attention_size: Units = Field(16, description="units of each head")


def _network_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("network", "deepfm"))
    return str(getattr(value, "network", value))


RatingConfig = Annotated[
    Annotated[DeepFmConfig, Tag("deepfm")]
    | Annotated[NfmConfig, Tag("nfm")]
    | Annotated[DcnConfig, Tag("dcn")]
    | Annotated[AfmConfig, Tag("afm")]
    | Annotated[XDeepFmConfig, Tag("xdeepfm")]
    | Annotated[AutoIntConfig, Tag("autoint")],
    Discriminator(_network_of),
]
"""The settings of one network; `network` says which."""
