"""Rank the newest events, which neither has seen, by a new model and by the running one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.files import save_array
from model_store.fresh_items import FreshItem
from offline.artifact import Artifact, Facts
from offline.fingerprint import fingerprint_of
from offline.stages.recommender import RecommenderArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact
from offline.stages.stage import Stage

K = 10


@dataclass(frozen=True)
class Pairs:
    """The figures of C cases by both models.

    Attributes:
        users: of each case, int32 [C].
        candidate: NDCG@10 of each case by the new model, float64 [C].
        running: by the running one.
        is_known: whether the running one has the target, in its catalogue or as a fresh item,
            bool [C]. Where it hasn't, the case is a miss of the running one.
    """

    users: npt.NDArray[np.int32]
    candidate: npt.NDArray[np.float64]
    running: npt.NDArray[np.float64]
    is_known: npt.NDArray[np.bool_]

    def known(self) -> Pairs:
        """Those alone whose target both models have."""
        kept = self.is_known
        return Pairs(
            self.users[kept], self.candidate[kept], self.running[kept], self.is_known[kept]
        )


class ComparisonArtifact(Artifact):
    """The ranks of the newest events."""

    USERS, CANDIDATE, RUNNING, IS_KNOWN = (
        "users.npy",
        "candidate_ranks.npy",
        "running_ranks.npy",
        "is_known.npy",
    )

    def pairs(self) -> Pairs:
        """The figures of all cases."""
        from offline.metrics import gains

        users, candidate, running, is_known = (
            np.load(self.path(name), allow_pickle=False)
            for name in (self.USERS, self.CANDIDATE, self.RUNNING, self.IS_KNOWN)
        )
        return Pairs(users, gains(candidate, K), gains(running, K), is_known)


@dataclass(frozen=True)
class ComparisonStage(Stage[ComparisonArtifact]):
    """From two models to the ranks of the same cases.

    Attributes:
        data: its test cases are ranked.
        recommender: the new model, which was fitted to the training part.
        running: bundle of the version that answers.
        fresh: items that this version was given after its training.
    """

    data: RefreshedDataArtifact
    recommender: RecommenderArtifact
    running: Bundle
    fresh: Sequence[FreshItem] = ()

    name = "comparison"

    @property
    def artifact(self) -> type[ComparisonArtifact]:
        """See `ComparisonArtifact`."""
        return ComparisonArtifact

    @property
    def inputs(self) -> Mapping[str, str]:
        """Both artifacts, and the running bundle by its own parts."""
        parts = sorted(self.running.manifest.inputs.items())
        fresh = [part for one in self.fresh for part in (one.item_id, one.vector)]
        return {
            **super().inputs,
            "running": fingerprint_of(parts),
            "fresh": fingerprint_of(*fresh),
        }

    def run(self, folder: Path) -> Facts:
        """Write the ranks.

        Raises:
            InputError: a score is NaN.
        """
        from offline.evaluate.bundle_scores import BundleScores
        from offline.metrics import UNRANKED, gains, rank_cases
        from offline.progress import Progress

        cases = self.data.split().test
        running = BundleScores(self.running, self.data.item_ids(), self.fresh)
        is_known = running.are_known(cases.targets)
        scores = {"candidate": self.recommender.model().score, "running": running.score}
        with Progress("comparing models", len(scores) * len(cases), "case") as progress:
            ranks = {
                name: rank_cases(score, cases, k=0, ranked=progress.advance).ranks
                for name, score in scores.items()
            }
        ranks["running"][~is_known] = UNRANKED
        save_array(folder / ComparisonArtifact.USERS, cases.users)
        save_array(folder / ComparisonArtifact.CANDIDATE, ranks["candidate"])
        save_array(folder / ComparisonArtifact.RUNNING, ranks["running"])
        save_array(folder / ComparisonArtifact.IS_KNOWN, is_known)
        means = {
            f"{name}_ndcg_at_10": round(float(gains(found, K).mean()), 4)
            for name, found in ranks.items()
        }
        return {"cases": len(cases), "unknown_targets": int((~is_known).sum()), **means}
