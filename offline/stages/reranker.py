"""What a bundle needs to rerank beside the graph: weights, the labels' bias, users' vectors."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from model_store.aggregation import Weighting
from model_store.files import save_array
from model_store.rerank_prompt import PromptLayout, item_titles
from model_store.reranker import RerankerInfo
from offline.artifact import Artifact, Facts, write_json
from offline.stages.data import DataArtifact
from offline.stages.label_graph import LabelGraphArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage

# More threads than cores of a small machine make it slower.
_MAX_THREADS = 4


class RerankerArtifact(Artifact):
    """The manifest's description, the users' vectors, and the figures of the choice."""

    INFO, CALIBRATION, USER_VECTORS = "reranker.json", "calibration.json", "user_vectors.npy"

    def info(self) -> RerankerInfo:
        """The manifest's description of the reranker."""
        return RerankerInfo.model_validate(self.read_json(self.INFO))


@dataclass(frozen=True)
class RerankerStage(Stage[RerankerArtifact]):
    """From an exported language model and a recommender to a reranker.

    Attributes:
        data: validation cases of it choose the weights.
        chosen: the recommender that did not see them.
        served: the recommender of the bundle, whose user vectors find similar users.
        graph: the language model.
        layout: of its prompts.
        model_name: names the language model.
    """

    data: DataArtifact
    chosen: RecommenderArtifact
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
        """Write description, figures and vectors.

        Raises:
            InputError: a score is NaN.
        """
        from offline.instruction.weight_choice import calibrate, judge
        from offline.instruction.onnx_scorer import OnnxLabelScorer
        from offline.instruction.questions import Questioner
        from offline.metrics import rank_cases

        split, interactions = self.data.split(), self.data.interactions()
        model, graph = self.chosen.model(), self.graph.graph()
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
        sequences = [split.train_history(user) for user in range(interactions.n_users)]
        judgements = judge(
            Questioner(model, sequences, self.layout),
            OnnxLabelScorer.open(self.graph.folder, graph, threads),
            split.validation,
            self.layout,
            item_titles(self.data.attributes(), self.data.item_ids().ids),
        )
        counts = np.diff(interactions.offsets).tolist()
        base = rank_cases(model.score, split.validation, k=0).ranks
        found = calibrate(judgements, counts, base, self.layout.n_candidates)
        info = RerankerInfo(
            name=self.model_name,
            layout=self.layout,
            weighting=Weighting.of_users(counts, found.alpha_1, found.alpha_2),
            label_bias=found.label_bias,
            graph=graph,
        )
        write_json(folder / RerankerArtifact.INFO, info.model_dump())
        write_json(folder / RerankerArtifact.CALIBRATION, asdict(found))
        save_array(folder / RerankerArtifact.USER_VECTORS, self._user_vectors())
        return {
            "alpha_1": found.alpha_1,
            "alpha_2": found.alpha_2,
            "validation_ndcg_at_10": round(found.reranked, 4),
            "without": round(found.base, 4),
        }

    def _user_vectors(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Unit rows, in the order of the users."""
        interactions, model = self.data.interactions(), self.served.model()
        histories = [interactions.history(user) for user in range(interactions.n_users)]
        vectors = model.user_vectors(histories)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        return np.ascontiguousarray(unit, dtype=np.float32)
