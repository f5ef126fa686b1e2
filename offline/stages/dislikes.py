"""Choose how much dislikes weigh against items like them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Artifact, Facts
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage


class DislikesArtifact(Artifact):
    """The chosen weight, which its facts hold."""

    @property
    def weight(self) -> float:
        """See `EventsInfo.dislike_weight`."""
        return float(self.facts["weight"])


@dataclass(frozen=True)
class DislikesStage(Stage[DislikesArtifact]):
    """From a fitted recommender to the weight that ranks its validation cases best.

    Attributes:
        data: its negative interactions are the dislikes.
        recommender: fitted to the training part.
    """

    data: DataArtifact
    recommender: RecommenderArtifact

    name = "dislikes"

    @property
    def artifact(self) -> type[DislikesArtifact]:
        """See `DislikesArtifact`."""
        return DislikesArtifact

    def run(self, folder: Path) -> Facts:  # noqa: ARG002 - the facts are all
        """Choose the weight; the folder gets no other file."""
        from offline.data.event_meaning import TypedInteractions
        from offline.evaluate.dislikes import choose_weight, disliked_before

        typed = TypedInteractions.load(self.data.path(self.data.TYPED))
        cases = self.data.split().validation
        disliked = disliked_before(typed, self.data.interactions(), cases)
        choice = choose_weight(self.recommender.model(), cases, disliked)
        ndcg = {f"{weight:g}": round(value, 4) for weight, value in choice.ndcg.items()}
        return {"weight": choice.weight, "cases": choice.n_cases, "ndcg_at_10": ndcg}
