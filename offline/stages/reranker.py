"""What a bundle needs to rerank beside the graph: weights, the labels' bias, users' vectors."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_store.files import save_array
from model_store.rerank_prompt import PromptLayout, item_titles
from model_store.reranker import RerankerInfo
from offline.artifact import Artifact, Facts, write_json
from offline.stages.candidates import AskedCases, CandidatesArtifact
from offline.stages.data import DataArtifact
from offline.stages.label_graph import LabelGraphArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import EngineStage

if TYPE_CHECKING:
    from offline.instruction.shortlists import Shortlists

_SCORES, _PARTS = "validation.f32", "user-vectors"
# More threads than cores of a small machine make it slower.
_MAX_THREADS = 4


class RerankerArtifact(Artifact):
    """The manifest's description and the users' vectors; facts tell what the choice rests on."""

    INFO, USER_VECTORS = "reranker.json", "user_vectors.npy"

    def info(self) -> RerankerInfo:
        """The manifest's description of the reranker."""
        return RerankerInfo.model_validate(self.read_json(self.INFO))


@dataclass(frozen=True)
class RerankerStage(EngineStage[RerankerArtifact]):
    """From an exported language model and a recommender to a reranker.

    Attributes:
        data: validation cases of it choose the weights.
        chosen: the recommender that did not see them.
        candidates: its first items for these cases.
        served: the recommender of the bundle, whose user vectors find similar users.
        graph: the language model.
        layout: of its prompts.
        model_name: names the language model.
    """

    data: DataArtifact
    chosen: RecommenderArtifact
    candidates: CandidatesArtifact
    served: RecommenderArtifact
    graph: LabelGraphArtifact
    layout: PromptLayout
    model_name: str

    name = "reranker"

    @property
    def artifact(self) -> type[RerankerArtifact]:
        """See `RerankerArtifact`."""
        return RerankerArtifact

    @property
    def config(self) -> Facts:
        """Layout and name."""
        return {"layout": self.layout.model_dump(), "model": self.model_name}

    def run(self, folder: Path) -> Facts:
        """Write description and vectors; scores of a run that was killed are used again.

        Raises:
            InputError: a score is NaN.
        """
        from offline.instruction.asked_prompts import AskedPrompts, measure_label_bias
        from offline.instruction.onnx_scorer import OnnxLabelScorer
        from offline.instruction.prompt_scores import score_prompts
        from offline.instruction.shortlists import choose_weighting
        from offline.metrics import ndcg_at_k

        titles = item_titles(self.data.attributes(), self.data.item_ids().ids)
        asked = self.candidates.asked("validation")
        prompts = AskedPrompts.of(asked.questions, self.layout, titles)
        graph, threads = self.graph.graph(), min(_MAX_THREADS, os.cpu_count() or 1)
        scorer = OnnxLabelScorer.open(self.graph.folder, graph, threads)
        label_scores = score_prompts(scorer, prompts.texts, prompts.n_labels, folder / _SCORES)
        bias = measure_label_bias(label_scores, self.layout.n_candidates)
        scores = prompts.in_recommenders_order(label_scores, bias)
        shortlists = self._shortlists(asked)
        counts = np.diff(self.data.interactions().offsets).tolist()
        weighting = choose_weighting(shortlists, scores, counts)
        info = RerankerInfo(
            name=self.model_name,
            layout=self.layout,
            weighting=weighting,
            label_bias=tuple(float(value) for value in bias),
            graph=graph,
        )
        write_json(folder / RerankerArtifact.INFO, info.model_dump())
        save_array(folder / RerankerArtifact.USER_VECTORS, self._user_vectors(folder / _PARTS))
        shutil.rmtree(folder / _PARTS)
        (folder / _SCORES).unlink()
        reranked = shortlists.reranked(scores, weighting.weight)
        return {
            "alpha_1": weighting.alpha_1,
            "alpha_2": weighting.alpha_2,
            "asked": len(asked.cases),
            "validation_ndcg_at_10": round(ndcg_at_k(reranked), 4),
            "without": round(ndcg_at_k(shortlists.ranks), 4),
        }

    def _shortlists(self, asked: AskedCases) -> Shortlists:
        from offline.instruction.shortlists import Shortlists
        from offline.metrics import rank_cases

        cases = self.data.split().validation
        ranks = rank_cases(self.chosen.model().score, cases, k=0).ranks
        lengths = np.diff(cases.history_offsets)[asked.cases]
        return Shortlists(ranks, asked.cases, asked.positions, lengths)

    def _user_vectors(self, parts: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Unit rows, in the order of the users."""
        from offline.engine.rows import Rows
        from offline.user_vectors import user_vectors

        interactions, served = self.data.interactions(), self.served
        histories = Rows(interactions.offsets, interactions.items)
        vectors = user_vectors(served.folder, served.fingerprint, histories, self.engine, parts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        return np.ascontiguousarray(unit, dtype=np.float32)
