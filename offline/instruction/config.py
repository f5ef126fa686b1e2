"""Settings of instruction data and of tuning; reading a recipe loads no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_store.rerank_prompt import PromptLayout
from offline.instruction.adapter_config import AdapterConfig
from offline.knowledge.config import DEFAULT_MODEL


class InstructionConfig(BaseModel):
    """How examples are made of training data (Llama4Rec 4.5.1); unknown names are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: PromptLayout = PromptLayout()
    folds: int = Field(
        4,
        ge=2,
        le=100,
        description="parts of the users; candidates of one part come from a recommender that was "
        "trained on the others",
    )
    positions_per_user: int = Field(
        20, ge=1, le=10_000, description="newest targets of a user's training sequence"
    )
    max_rankings: int = Field(
        2_000, ge=0, le=10_000_000, description="list-wise examples; tail users come first"
    )
    max_ratings: int = Field(
        500, ge=0, le=10_000_000, description="point-wise examples; none without ratings"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the folds")


class InstructionTuningConfig(AdapterConfig):
    """How a language model is tuned on examples (Llama4Rec 4.5.2); unknown names are rejected."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="short name, Hugging Face id, folder or .gguf file",
    )
    adapter_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="on the adapter's inputs")
    start: str = Field(
        "",
        description="folder of an adapter to go on from, of the same rank and layers; empty: none",
    )
    loss: Literal["labels", "vocabulary"] = Field(
        "labels",
        description="labels: cross-entropy over the candidates' labels, or the ratings, at the "
        "answer's place; vocabulary: over the whole vocabulary on the answer's text (equation 8)",
    )
    part_dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the prompts that are trained on without the similar user, and, drawn "
        "apart, of those without the prediction, so that one model knows prompts without a part",
    )
    epochs: int = Field(1, ge=1, le=1_000, description="over all examples")
    batch_size: int = Field(8, ge=1, le=65_536, description="examples in a step")
    learning_rate: float = Field(2e-4, gt=0.0, le=1.0, description="falls to 0 by a cosine")
    warm_up_steps: int = Field(
        20, ge=0, le=1_000_000, description="over which the learning rate rises from 0"
    )
    weight_decay: float = Field(0.0, ge=0.0, le=10.0, description="of matrices, decoupled (AdamW)")
    held_out_share: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="of the examples' users: the epoch is chosen by these users' examples, which "
        "are not trained on; 0: the last epoch is kept",
    )
    save_every_s: float = Field(60.0, gt=0.0, description="seconds between checkpoints")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of all random draws")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where it is")
    precision: Literal["auto", "bfloat16"] = Field(
        "auto",
        description="of products in training; auto: bfloat16 on CUDA, float32 on a CPU; bfloat16: "
        "there too, which is faster where the CPU has instructions for it",
    )

    @model_validator(mode="after")
    def _only_an_adapter_goes_on_from_one(self) -> Self:
        if self.start and self.method == "full":
            raise ValueError('start is of method "lora"; with "full", name the folder as model')
        return self
