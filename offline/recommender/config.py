"""Settings of a recommender and its training, with their valid ranges.

Read by recipes, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

TextProjection = Literal["whitened", "pca", "centred"]
TableUpdates = Literal["dense", "sparse"]
IdTraining = Literal["trainable", "frozen", "further-all", "further-ids"]
Precision = Literal["float32", "bfloat16"]


class SequenceConfig(BaseModel):
    """Settings of every architecture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(64, ge=4, le=1024, description="D, size of an item_table row")
    members: int = Field(
        1,
        ge=1,
        le=16,
        description="networks trained together, each on its part of D; scores are means",
    )
    max_length: int = Field(100, ge=1, le=4096, description="last history items that are read")
    dropout: float = Field(
        0.3,
        ge=0.0,
        le=0.99,
        description="on inputs, residuals and hidden units; rounded to a 256th",
    )
    id_init: Literal["random", "text"] = Field(
        "text", description="text: projected knowledge vectors, where there are any"
    )
    text_projection: TextProjection = Field(
        "whitened",
        description="of initial ids: main axes of like variance; pca: main axes as they are; "
        "centred: no axes, for vectors of at most embedding_size",
    )
    id_std: float = Field(0.02, gt=0.0, le=10.0, description="of initial ids, whatever they are")
    ids_anchored: bool = Field(
        False, description="weight decay pulls ids back to where they started, not to zero"
    )
    knowledge_beside_ids: bool = Field(
        True, description="give [id ; knowledge] to the network; False: ids alone"
    )

    @property
    def member_size(self) -> int:
        """Size of a member's part of an item_table row."""
        return self.embedding_size // self.members

    @model_validator(mode="after")
    def _members_get_equal_parts(self) -> Self:
        if self.embedding_size % self.members:
            raise ValueError(
                f"embedding_size {self.embedding_size} is not a multiple of members {self.members}"
            )
        return self

    def of_member(self) -> Self:
        """The configuration of one member, of its own size."""
        alone = {"embedding_size": self.member_size, "members": 1}
        return type(self).model_validate(self.model_dump() | alone)


class AttentionConfig(SequenceConfig):
    """The shape of a network of attention layers."""

    heads_of_even_size: ClassVar[bool] = False

    layers: int = Field(2, ge=1, le=16, description="of attention")
    heads: int = Field(2, ge=1, le=32, description="of attention in a layer")

    @model_validator(mode="after")
    def _heads_get_equal_sizes(self) -> Self:
        if self.member_size % (2 * self.heads if self.heads_of_even_size else self.heads):
            multiple = "an even multiple" if self.heads_of_even_size else "a multiple"
            shared = f" / members {self.members}" if self.members > 1 else ""
            raise ValueError(
                f"embedding_size {self.embedding_size}{shared} is not {multiple} of "
                f"heads {self.heads}"
            )
        return self


class TransformerConfig(AttentionConfig):
    """Attention layers with a feed-forward in each."""

    heads_of_even_size: ClassVar[bool] = True  # rotations by position act on pairs of numbers

    feedforward_factor: int = Field(1, ge=1, le=8, description="hidden size over D")


class SasrecConfig(TransformerConfig):
    """Causal self-attention."""

    backbone: Literal["sasrec"] = "sasrec"


class Bert4recConfig(TransformerConfig):
    """Bidirectional self-attention, trained on hidden items."""

    backbone: Literal["bert4rec"] = "bert4rec"
    hidden_share: float = Field(0.2, gt=0.0, lt=1.0, description="items hidden in training")
    last_share: float = Field(
        0.2, ge=0.0, le=1.0, description="sequences of which the last item alone is hidden"
    )


class Gru4recConfig(SequenceConfig):
    """A recurrent network."""

    backbone: Literal["gru4rec"] = "gru4rec"
    layers: int = Field(1, ge=1, le=8, description="of recurrence")
    hidden_size: int = Field(128, ge=4, le=4096, description="of the recurrent state")


class CaserConfig(SequenceConfig):
    """Convolutions over the last items."""

    backbone: Literal["caser"] = "caser"
    window: int = Field(10, ge=1, le=64, description="last items that a position sees")
    horizontal_filters: int = Field(16, ge=1, le=1024, description="of each height up to window")
    vertical_filters: int = Field(4, ge=1, le=1024, description="weighted sums over the window")


class HstuConfig(AttentionConfig):
    """Causal attention by pointwise weights, gated."""

    backbone: Literal["hstu"] = "hstu"


class LightsansConfig(TransformerConfig):
    """Attention to a few interests."""

    backbone: Literal["lightsans"] = "lightsans"
    interests: int = Field(5, ge=1, le=64, description="that a history is summarised in")


class PaupConfig(TransformerConfig):
    """Attention to segments of the history."""

    backbone: Literal["paup"] = "paup"
    segment: int = Field(3, ge=1, le=64, description="items in a segment")


def _backbone_of(values: Any) -> str:
    if isinstance(values, dict):
        return str(values.get("backbone", "sasrec"))
    return str(getattr(values, "backbone", values))


RecommenderConfig = Annotated[
    Annotated[SasrecConfig, Tag("sasrec")]
    | Annotated[Bert4recConfig, Tag("bert4rec")]
    | Annotated[Gru4recConfig, Tag("gru4rec")]
    | Annotated[CaserConfig, Tag("caser")]
    | Annotated[HstuConfig, Tag("hstu")]
    | Annotated[LightsansConfig, Tag("lightsans")]
    | Annotated[PaupConfig, Tag("paup")],
    Discriminator(
        _backbone_of,
        custom_error_type="backbone",
        custom_error_message=(
            "backbone is none of sasrec, bert4rec, gru4rec, caser, hstu, lightsans, paup"
        ),
    ),
]
"""The settings of one architecture; `backbone` names it, by default "sasrec"."""


class TrainingConfig(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(
        100, ge=1, le=10_000, description="at most, of each phase; early stopping ends sooner"
    )
    patience: int = Field(20, ge=1, le=10_000, description="epochs without a better NDCG@10")
    batch_size: int = Field(32, ge=1, le=65_536, description="sequences in a step")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="the highest, after warm-up")
    weight_decay: float = Field(0.0, ge=0.0, le=10.0, description="of matrices, decoupled (AdamW)")
    weight_averaging: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="epochs over which weights are averaged, exponentially; the average is what is "
        "validated, kept and served. 0: the weights as they are",
    )
    warm_up_steps: int = Field(
        100, ge=0, le=1_000_000, description="over which the learning rate rises from 0"
    )
    decay: Literal["none", "cosine"] = Field(
        "none", description="of the learning rate, down to 0 over the epochs of a phase"
    )
    loss: Literal["softmax", "gbce", "bce"] = Field(
        "softmax", description="bce, with one negative a position, is a baseline"
    )
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of the target that all items get; softmax alone"
    )
    sampled_negatives: int = Field(
        0, ge=0, le=1_000_000, description="in a batch; 0: the whole catalogue is in every softmax"
    )
    whole_catalogue_up_to: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="items with interactions; up to so many the whole catalogue is in every "
        "softmax, and sampled_negatives are for larger ones",
    )
    table_updates: TableUpdates = Field(
        "dense",
        description="sparse: a step reads and changes those rows of the item table alone that are "
        "in its histories or among its negatives, for catalogues of a million items and more",
    )
    gbce_calibration: float = Field(
        0.75, ge=0.0, le=1.0, description="t of gBCE: 0 is bce, 1 makes scores probabilities"
    )
    contrast_weight: float = Field(
        0.0, ge=0.0, le=100.0, description="of CL4SRec's loss next to the other; causal networks"
    )
    contrast_temperature: float = Field(0.2, gt=0.0, le=10.0, description="of CL4SRec's loss")
    id_training: IdTraining = Field(
        "trainable",
        description="frozen: ids stay as they start; further-all, further-ids: frozen until early "
        "stopping, then from the best weights everything, or the ids alone",
    )
    share: float = Field(1.0, gt=0.0, le=1.0, description="of the users, whose sequences train")
    seed: int = Field(0, ge=0, lt=2**31, description="of all random draws")
    device: Literal["auto", "cpu", "cuda"] = Field("cpu", description="auto: cuda where it is")
    precision: Precision = Field(
        "float32",
        description="of what the backbone computes in training; bfloat16 is for GPUs. Weights, "
        "item table, loss and optimizer are float32 with either, and so is all that is ranked",
    )

    @model_validator(mode="after")
    def _choices_fit_the_loss(self) -> Self:
        if self.label_smoothing and (self.sampled_negatives or self.loss != "softmax"):
            raise ValueError(
                f"label_smoothing {self.label_smoothing} works only with loss softmax and "
                f"sampled_negatives 0, not {self.loss} and {self.sampled_negatives}"
            )
        if self.loss == "bce" and self.sampled_negatives:
            raise ValueError(
                f"loss bce has one negative a position, not sampled_negatives "
                f"{self.sampled_negatives}"
            )
        if self.loss == "gbce" and not self.sampled_negatives:
            raise ValueError("loss gbce needs sampled_negatives of 1 or more, not 0")
        if self.whole_catalogue_up_to and (self.loss != "softmax" or not self.sampled_negatives):
            raise ValueError(
                f"whole_catalogue_up_to {self.whole_catalogue_up_to} works only with loss softmax "
                f"and sampled_negatives, not {self.loss} and {self.sampled_negatives}"
            )
        if self.table_updates == "sparse":
            self._check_sparse()
        return self

    def _check_sparse(self) -> None:
        if not self.sampled_negatives:
            raise ValueError(
                "table_updates sparse needs sampled_negatives of 1 or more, not 0: else every step "
                "reads the whole table"
            )
        for name, value in (
            ("weight_averaging", self.weight_averaging),
            ("contrast_weight", self.contrast_weight),
        ):
            if value:
                raise ValueError(
                    f"{name} {value:g} works only with table_updates dense, not sparse"
                )

    def negatives_among(self, n_items: int) -> int:
        """How many negatives a batch has where so many items have interactions; 0 for all."""
        return 0 if n_items <= self.whole_catalogue_up_to else self.sampled_negatives
