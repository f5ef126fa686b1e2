"""Have a tuned language model rate held-out pairs of users and items (Llama4Rec 4.4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store.files import save_array
from model_store.rerank_prompt import item_titles
from offline.artifact import Facts
from offline.cache import cache_folder
from offline.data.split import draw_users
from offline.instruction.rating_config import RatingInstructionConfig
from offline.stages.data import DataArtifact
from offline.stages.rating_predictions import PARTS, RatingPredictionsArtifact, file_of
from offline.stages.ratings import RatingsArtifact
from offline.stages.stage import Stage
from offline.stages.tuning import TuningArtifact

LLM = "LLM alone"


@dataclass(frozen=True)
class LlmRatingsStage(Stage[RatingPredictionsArtifact]):
    """From a tuned language model to ratings; a run that was killed goes on where it stopped.

    Attributes:
        data: titles of the items.
        ratings: held-out pairs; the training part makes the histories.
        tuned: the language model.
        choices: how it is asked.
        users: whose pairs are rated, so many drawn at random, the others' are NaN; None: all.
    """

    data: DataArtifact
    ratings: RatingsArtifact
    tuned: TuningArtifact
    choices: RatingInstructionConfig
    users: int | None

    name = "llm_ratings"

    @property
    def artifact(self) -> type[RatingPredictionsArtifact]:
        """See `RatingPredictionsArtifact`."""
        return RatingPredictionsArtifact

    @property
    def config(self) -> Facts:
        """Prompts and users."""
        return {"choices": self.choices.model_dump(), "users": self.users}

    def run(self, folder: Path) -> Facts:
        """Write the ratings of both parts.

        Raises:
            LongtailError: the language model can't be used, in one line.
        """
        from offline.instruction.asked_ratings import ask_ratings
        from offline.instruction.tunable import open_tuned

        split = self.ratings.split()
        scale = float(split.train.values.min()), float(split.train.values.max())
        titles = item_titles(self.data.attributes(), self.data.item_ids().ids)
        model = open_tuned(self.choices.tuning, self.tuned.weights, cache_folder())
        is_drawn = draw_users(int(self.data.facts["users"]), self.users)
        n_asked = 0
        for part in PARTS:
            held_out = getattr(split, part)
            chosen = is_drawn[held_out.users - 1]
            path = folder / f"{part}.f32"
            asked = held_out.chosen(chosen)
            found = np.full(len(held_out), np.nan, np.float32)
            found[chosen] = np.clip(
                ask_ratings(model, split.train, asked, titles, self.choices.layout, path), *scale
            )
            save_array(folder / file_of(0, part), found)
            path.unlink()
            n_asked += len(asked)
        return {"models": [LLM], "asked": n_asked}
