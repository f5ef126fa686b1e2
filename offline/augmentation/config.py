"""Settings of the augmentation of training sequences; nothing heavy is imported here."""

from __future__ import annotations

from pydantic import Field

from model_store.rerank_prompt import LABELS, PromptLayout
from offline.instruction.scorer_choice import ScorerChoice


class AugmentationConfig(ScorerChoice):
    """The table `[augmentation]` of a recipe; off by default."""

    share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="of the users, those with the fewest training interactions, whose sequences "
        "get items; 0: none",
    )
    max_interactions: int = Field(
        50, ge=1, le=1_000_000, description="users with more training interactions get none"
    )
    per_user: int = Field(1, ge=1, le=20, description="items that a sequence gets")
    n_candidates: int = Field(
        10, ge=2, le=len(LABELS), description="k', un-interacted items that one is picked from"
    )
    n_history: int = Field(10, ge=1, le=100, description="newest items shown to the model")
    seed: int = Field(0, ge=0, lt=2**31, description="draws candidates and places")

    @property
    def layout(self) -> PromptLayout:
        """Of the prompts: the adapter's wording, neither similar user nor prediction.

        Raises:
            ConfigError: the adapter's layout can't be read.
        """
        numbers = {"n_candidates": self.n_candidates, "n_history": self.n_history}
        parts = {"n_similar": 0, "shows_prediction": False}
        return (self.tuned_layout or PromptLayout()).model_copy(update=numbers | parts)
