"""Settings of what a language model adds to training data; nothing heavy is imported here."""

from __future__ import annotations

from pydantic import Field

from model_store.rerank_prompt import LABELS, PromptLayout
from offline.instruction.scorer_choice import ScorerChoice


class SparseUsersConfig(ScorerChoice):
    """Whose training data a language model adds to, and what it is shown of them."""

    share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="of the users, those with the fewest training interactions, whose training "
        "data get additions; 0: none",
    )
    max_interactions: int = Field(
        50, ge=1, le=1_000_000, description="users with more training interactions get none"
    )
    n_history: int = Field(10, ge=1, le=100, description="newest items shown to the model")
    seed: int = Field(0, ge=0, lt=2**31, description="of all random draws")

    def layout_of(self, n_candidates: int) -> PromptLayout:
        """Of the prompts: the adapter's wording, neither similar user nor prediction.

        Raises:
            ConfigError: the adapter's layout can't be read.
        """
        numbers = {"n_candidates": n_candidates, "n_history": self.n_history}
        parts = {"n_similar": 0, "shows_prediction": False}
        return (self.tuned_layout or PromptLayout()).model_copy(update=numbers | parts)


class AugmentationConfig(SparseUsersConfig):
    """The table `[augmentation]` of a recipe: items in training sequences; off by default."""

    per_user: int = Field(1, ge=1, le=20, description="items that a sequence gets")
    n_candidates: int = Field(
        10, ge=2, le=len(LABELS), description="k', un-interacted items that one is picked from"
    )

    @property
    def layout(self) -> PromptLayout:
        """Of the prompts.

        Raises:
            ConfigError: the adapter's layout can't be read.
        """
        return self.layout_of(self.n_candidates)


class PairsConfig(SparseUsersConfig):
    """The table `[pairs]` of a recipe: pairs of items in a direct model's loss; off by default."""

    per_user: int = Field(5, ge=1, le=1_000, description="pairs of each such user")

    @property
    def layout(self) -> PromptLayout:
        """Of the prompts.

        Raises:
            ConfigError: the adapter's layout can't be read.
        """
        return self.layout_of(2)
