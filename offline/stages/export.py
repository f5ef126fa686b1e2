"""Export graph, item table and golden requests, checked against torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_store.manifest import ModelInfo, RetrieverInfo
from offline.artifact import Artifact, Facts
from offline.export.config import RetrievalConfig
from offline.stages.data import DataArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.stage import Stage


class ExportArtifact(Artifact):
    """The model's files as the service reads them."""

    MODEL, ITEM_TABLE, FRESH_PROJECTION = "model.onnx", "item_table.npy", "fresh_projection.npy"
    MODEL_INFO, GOLDEN, RETRIEVER = "model.json", "golden.json", "retriever.json"

    def model_info(self) -> ModelInfo:
        """The manifest's description of the model."""
        return ModelInfo.model_validate_json(self.path(self.MODEL_INFO).read_bytes())

    def retriever(self) -> RetrieverInfo | None:
        """The retriever of a catalogue too large to score every item of; None for others."""
        path = self.path(self.RETRIEVER)
        return RetrieverInfo.model_validate_json(path.read_bytes()) if path.is_file() else None


@dataclass(frozen=True)
class ExportStage(Stage[ExportArtifact]):
    """From a fitted recommender to the files that serve it.

    Attributes:
        data: histories of it check the export.
        recommender: the model to serve.
        retrieval: when and how to build a retriever.
    """

    data: DataArtifact
    recommender: RecommenderArtifact
    retrieval: RetrievalConfig

    name = "export"

    @property
    def artifact(self) -> type[ExportArtifact]:
        """See `ExportArtifact`."""
        return ExportArtifact

    @property
    def config(self) -> Facts:
        """All choices of retrieval."""
        return self.retrieval.model_dump()

    def run(self, folder: Path) -> Facts:
        """Write the files.

        Raises:
            ParityError: the exported model answers differently.
        """
        from offline.export.bundle_files import export_model

        interactions = self.data.interactions()
        histories = [interactions.history(user) for user in range(interactions.n_users)]
        report = export_model(
            self.recommender.model(),
            interactions.item_ids,
            histories,
            folder,
            retrieval=self.retrieval,
        )
        facts: dict[str, object] = {
            "checked": report.parity.n_histories,
            "largest_difference": float(f"{report.parity.max_difference:.2g}"),
            "request_ms": round(report.request_ms, 3),
        }
        if report.retriever:
            facts["recall_at_10"] = report.retriever.probes[0].recall
        return facts
