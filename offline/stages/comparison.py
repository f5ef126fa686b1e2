"""Rank the newest events, which neither has seen, by a new model and by the running one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from offline.data.split import Cases

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
        is_prompted: whether the event follows an answer that it names, bool [C].
    """

    users: npt.NDArray[np.int32]
    candidate: npt.NDArray[np.float64]
    running: npt.NDArray[np.float64]
    is_known: npt.NDArray[np.bool_]
    is_prompted: npt.NDArray[np.bool_]

    def known(self) -> Pairs:
        """Those alone whose target both models have."""
        return self._chosen(self.is_known)

    def unprompted(self) -> Pairs:
        """Those alone that follow no answer."""
        return self._chosen(~self.is_prompted)

    def _chosen(self, kept: npt.NDArray[np.bool_]) -> Pairs:
        return Pairs(*(getattr(self, field.name)[kept] for field in fields(self)))


class ComparisonArtifact(Artifact):
    """The ranks of the newest events."""

    USERS, CANDIDATE, RUNNING, IS_KNOWN, IS_PROMPTED = (
        "users.npy",
        "candidate_ranks.npy",
        "running_ranks.npy",
        "is_known.npy",
        "is_prompted.npy",
    )

    def pairs(self) -> Pairs:
        """The figures of all cases."""
        from offline.metrics import gains

        names = (self.USERS, self.CANDIDATE, self.RUNNING, self.IS_KNOWN, self.IS_PROMPTED)
        users, candidate, running, *flags = (
            np.load(self.path(name), allow_pickle=False) for name in names
        )
        return Pairs(users, gains(candidate, K), gains(running, K), *flags)


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
        is_prompted = self._are_prompted(cases)
        save_array(folder / ComparisonArtifact.IS_PROMPTED, is_prompted)
        means = {
            f"{name}_ndcg_at_10": round(float(gains(found, K).mean()), 4)
            for name, found in ranks.items()
        }
        return {
            "cases": len(cases),
            "unknown_targets": int((~is_known).sum()),
            "prompted_targets": int(is_prompted.sum()),
            **means,
        }

    def _are_prompted(self, cases: Cases) -> npt.NDArray[np.bool_]:
        """Whether the user got each case's target by an answer, bool [C]; once is enough."""
        interactions, flags = self.data.interactions(), self.data.is_prompted()
        users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
        size = self.data.n_items + 1
        prompted = users[flags] * size + interactions.items[flags]
        found: npt.NDArray[np.bool_] = np.isin(
            cases.users * np.int64(size) + cases.targets, prompted
        )
        return found
