"""Export a rating network: graph, rows of users and items, golden requests; checked by torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_store.manifest import RatingModelInfo
from offline.artifact import Artifact, Facts
from offline.stages.data import DataArtifact
from offline.stages.rating import RatingArtifact
from offline.stages.stage import Stage


class RatingExportArtifact(Artifact):
    """The model's files as the service reads them."""

    MODEL, ITEM_TABLE = "model.onnx", "item_table.npy"  # and RATING_FILES
    MODEL_INFO, GOLDEN = "model.json", "golden.json"

    def model_info(self) -> RatingModelInfo:
        """The manifest's description of the model."""
        return RatingModelInfo.model_validate_json(self.path(self.MODEL_INFO).read_bytes())


@dataclass(frozen=True)
class RatingExportStage(Stage[RatingExportArtifact]):
    """From a fitted rating network to the files that serve it.

    Attributes:
        data: ids of users and items.
        rating: the model to serve.
        max_ranked: items that a request for recommendations ranks.
    """

    data: DataArtifact
    rating: RatingArtifact
    max_ranked: int

    name = "rating_export"

    @property
    def artifact(self) -> type[RatingExportArtifact]:
        """See `RatingExportArtifact`."""
        return RatingExportArtifact

    @property
    def config(self) -> Facts:
        """How much a request ranks."""
        return {"max_ranked": self.max_ranked}

    def run(self, folder: Path) -> Facts:
        """Write the files.

        Raises:
            ParityError: the exported model answers differently.
        """
        from offline.rating.export import export_model

        interactions = self.data.interactions()
        report = export_model(
            self.rating.model(),
            interactions.user_ids,
            interactions.item_ids,
            folder,
            max_ranked=min(self.max_ranked, interactions.n_items),
        )
        return {
            "checked": report.n_checked,
            "largest_difference": float(f"{report.max_difference:.2g}"),
            "request_ms": round(report.request_ms, 3),
        }
