"""Settings of instruction data; reading a recipe loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from model_store.rerank_prompt import PromptLayout


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
