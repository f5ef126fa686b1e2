"""Settings of a language model that predicts ratings; reading a grid loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from model_store.rerank_prompt import PromptLayout
from offline.instruction.config import InstructionTuningConfig


class RatingInstructionConfig(BaseModel):
    """How a language model is asked for ratings, and tuned to (Llama4Rec 4.4.1 and 4.5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_history: int = Field(10, ge=1, le=100, description="newest rated items of a prompt's history")
    max_title_characters: int = Field(40, ge=4, le=500, description="a title is cut there")
    max_examples: int = Field(
        2_000, ge=1, le=10_000_000, description="training ratings that the model is tuned on"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="draws the examples")
    tuning: InstructionTuningConfig = Field(
        InstructionTuningConfig(), description="the language model, and how it is tuned"
    )

    @property
    def layout(self) -> PromptLayout:
        """Of the prompts: a history with ratings, neither similar user nor prediction."""
        return PromptLayout(
            n_history=self.n_history,
            max_title_characters=self.max_title_characters,
            n_similar=0,
            shows_prediction=False,
        )
