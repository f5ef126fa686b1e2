"""Ask a language model to rank candidates of held-out cases, in one forward pass a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from model_store.rerank_prompt import PromptLayout, item_titles, presentation_order
from offline.artifact import Artifact, Facts
from offline.instruction.scorer_choice import ScorerChoice
from offline.stages.candidates import PARTS, AskedCases, CandidatesArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.instruction.label_scorer import LabelScorer

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prompts:
    """Prompts of cases: their texts and, of each, the candidates' positions as they are shown."""

    texts: Sequence[str]
    shown: Sequence[Sequence[int]]

    @property
    def n_labels(self) -> list[int]:
        """Number of candidates of each."""
        return [len(order) for order in self.shown]


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
        bias = np.zeros(self.layout.n_candidates, np.float32)
        if self.calibrated:
            bias = _label_bias(scores["validation"], len(bias))
        for part, of_part in scores.items():
            rows = np.full((len(of_part), len(bias)), np.nan, np.float32)
            for row, shown, of_case in zip(rows, prompts[part].shown, of_part, strict=True):
                row[np.array(shown, dtype=np.intp)] = of_case - bias[: len(of_case)]
            save_array(folder / f"{part}.npy", rows)
            files[part].unlink()
        n_prompts = sum(map(len, scores.values()))
        return {"prompts": n_prompts, "label_bias": [round(float(value), 3) for value in bias]}

    def prompts(self, part: str) -> Prompts:
        """The prompts of a part's cases, as the service writes them."""
        titles = item_titles(self.data.attributes(), self.data.item_ids().ids)
        cases = getattr(self.data.split(), part)
        asked: AskedCases = self.candidates.asked(part)
        # The service sends the reranker's process as many items as the recommender reads.
        longest = max(self.candidates.max_length, self.layout.n_history)
        shown = [
            presentation_order(cases.history(case)[-longest:].tolist(), question.candidates)
            for case, question in zip(asked.cases, asked.questions, strict=True)
        ]
        texts = [
            question.listwise(self.layout, titles, order)
            for question, order in zip(asked.questions, shown, strict=True)
        ]
        return Prompts(texts, shown)


def _label_bias(scores: Sequence[Float32], n_labels: int) -> Float32:
    """Mean log-probability of each label over prompts that have all of them, float32 [k']."""
    whole = [of_case for of_case in scores if len(of_case) == n_labels]
    if not whole:
        return np.zeros(n_labels, np.float32)
    bias: Float32 = np.stack(whole).mean(axis=0, dtype=np.float64).astype(np.float32)
    return bias
