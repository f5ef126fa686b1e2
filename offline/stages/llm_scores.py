"""Ask a language model to rank candidates of held-out cases, in one forward pass a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from model_store.rerank_prompt import PromptLayout, item_titles
from offline.artifact import Artifact, Facts
from offline.instruction.asked_prompts import AskedPrompts, measure_label_bias
from offline.instruction.scorer_choice import ScorerChoice
from offline.stages.candidates import PARTS, CandidatesArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.instruction.label_scorer import LabelScorer

Float32 = npt.NDArray[np.float32]


class LlmScoresArtifact(Artifact):
    """A language model's scores of candidates."""

    def scores(self, part: str) -> list[Float32]:
        """float32 [number of candidates] of each asked case, in the recommender's order."""
        rows = np.load(self.path(f"{part}.npy"), allow_pickle=False)
        return [row[~np.isnan(row)] for row in rows]


@dataclass(frozen=True)
class LlmScoresStage(Stage[LlmScoresArtifact]):
    """From questions to scores; a run that was killed goes on where it stopped.

    Attributes:
        data: titles and histories.
        candidates: the questions.
        choice: names the language model.
        layout: of the prompts.
        calibrated: subtract each label's mean log-probability over the validation prompts, which is
            a habit of the model's: candidates are shown in an order that has nothing to do with
            them.
        opened: gives the language model, when it is needed.
    """

    data: DataArtifact
    candidates: CandidatesArtifact
    choice: ScorerChoice
    layout: PromptLayout
    calibrated: bool
    opened: Callable[[], LabelScorer]

    name = "llm_scores"

    @property
    def artifact(self) -> type[LlmScoresArtifact]:
        """See `LlmScoresArtifact`."""
        return LlmScoresArtifact

    @property
    def config(self) -> Facts:
        """Model, prompt and calibration."""
        choices = {"choice": self.choice.model_dump(), "layout": self.layout.model_dump()}
        return choices | {"calibrated": self.calibrated}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The questions, and local models by their content."""
        return {**super().inputs, **self.choice.fingerprints()}

    def run(self, folder: Path) -> Facts:
        """Write the scores of both parts.

        Raises:
            LongtailError: the language model can't be used, in one line.
        """
        from offline.instruction.prompt_scores import score_prompts

        scorer = self.opened()
        prompts = {part: self.prompts(part) for part in PARTS}
        files = {part: folder / f"{part}.f32" for part in PARTS}
        scores = {
            part: score_prompts(scorer, asked.texts, asked.n_labels, files[part])
            for part, asked in prompts.items()
        }
        n_labels = self.layout.n_candidates
        bias = measure_label_bias(scores["validation"], n_labels) if self.calibrated else None
        for part, of_part in scores.items():
            rows = np.full((len(of_part), n_labels), np.nan, np.float32)
            of_candidates = prompts[part].in_recommenders_order(of_part, bias)
            for row, of_case in zip(rows, of_candidates, strict=True):
                row[: len(of_case)] = of_case
            save_array(folder / f"{part}.npy", rows)
            files[part].unlink()
        shown = [] if bias is None else [round(float(value), 3) for value in bias]
        return {"prompts": sum(map(len, scores.values())), "label_bias": shown}

    def prompts(self, part: str) -> AskedPrompts:
        """The prompts of a part's cases."""
        titles = item_titles(self.data.attributes(), self.data.item_ids().ids)
        return AskedPrompts.of(self.candidates.asked(part).questions, self.layout, titles)
