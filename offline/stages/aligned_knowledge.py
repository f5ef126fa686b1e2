"""Have the aligned LLM describe every item anew (SeRALM 4.4, pre-generation)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline.alignment.settings import Settings
from offline.artifact import Facts
from offline.cache import cache_folder
from offline.stages.alignment import AlignmentArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import EngineStage

_PARTS = "parts"


@dataclass(frozen=True)
class AlignedKnowledgeStage(EngineStage[KnowledgeArtifact]):
    """From items and an aligned LLM to item_knowledge.

    Attributes:
        before: texts before alignment; its items are described.
        alignment: the LLM's weights.
        settings: that it was aligned with.
    """

    before: KnowledgeArtifact
    alignment: AlignmentArtifact
    settings: Settings

    name = "aligned_knowledge"

    @property
    def artifact(self) -> type[KnowledgeArtifact]:
        """See `KnowledgeArtifact`."""
        return KnowledgeArtifact

    @property
    def config(self) -> Facts:
        """The LLM's, and how its weights are read."""
        return {
            "knowledge": self.settings.knowledge.model_dump(),
            "method": self.settings.alignment.method,
        }

    def run(self, folder: Path) -> Facts:
        """Write the items' texts and their knowledge; a killed run goes on where it stopped.

        Raises:
            LongtailError: the LLM can't be used, in one line.
        """
        from offline.alignment.aligned_model import describe_items

        texts = self.before.item_texts()
        alignment = self.alignment
        with self.workplace(folder / _PARTS) as workplace:
            described = describe_items(
                texts,
                self.settings,
                alignment.weights,
                alignment.fingerprint,
                cache_folder(),
                workplace,
            )
        report = described.report
        KnowledgeArtifact.write(folder, texts, described.knowledge, described.source, report)
        return {"texts": report.n_texts, "cached": report.from_cache, "generated": report.generated}
