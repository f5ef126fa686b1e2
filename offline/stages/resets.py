"""Measure what LLM and recommender of an alignment are worth without each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline.artifact import Artifact, Facts, write_json
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.stages.alignment import AlignmentArtifact
from offline.stages.data import DataArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.stage import Stage

_ROWS = "resets.json"


class ResetsArtifact(Artifact):
    """Figures of each pair."""

    def rows(self) -> list[dict[str, Any]]:
        """See `measure_resets`."""
        found: list[dict[str, Any]] = self.read_json(_ROWS)
        return found


@dataclass(frozen=True)
class ResetsStage(Stage[ResetsArtifact]):
    """From an alignment to SeRALM's figure 5.

    Attributes:
        data: its held-out parts are measured.
        before, aligned: vectors of the texts before alignment and after it.
        alignment: holds the recommender of both times.
        recommender, training: of the recommender.
    """

    data: DataArtifact
    before: EncodingArtifact
    aligned: EncodingArtifact
    alignment: AlignmentArtifact
    recommender: RecommenderConfig
    training: TrainingConfig

    name = "resets"

    @property
    def artifact(self) -> type[ResetsArtifact]:
        """See `ResetsArtifact`."""
        return ResetsArtifact

    @property
    def config(self) -> Facts:
        """The recommender's."""
        return {
            "recommender": self.recommender.model_dump(),
            "training": self.training.model_dump(),
        }

    def run(self, folder: Path) -> Facts:
        """Write the figures of validation and test.

        Raises:
            InputError: the alignment holds no recommenders of this configuration.
        """
        from offline.alignment.resets import measure_resets
        from offline.recommender.recommender import TrainingData

        split = self.data.split()
        data = TrainingData.of_split(split, self.data.n_items, self.before.vectors())
        rows = measure_resets(
            self.alignment.recommenders,
            self.recommender,
            self.training,
            data.of_share(self.training.share, self.training.seed),
            self.aligned.vectors(),
            {"validation": split.validation, "test": split.test},
        )
        write_json(folder / _ROWS, rows)
        return {"pairs": len(rows)}
