"""Have the language model describe each item and the people who like it (SeRALM 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.knowledge_texts import KnowledgeSource, TextArrays
from model_store.manifest import KnowledgeInfo
from offline.artifact import Artifact, Facts, write_json
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.knowledge.config import KnowledgeConfig
from offline.stages.data import DataArtifact
from offline.stages.stage import EngineStage

if TYPE_CHECKING:
    from offline.knowledge.generation import ItemKnowledge
    from offline.knowledge.report import KnowledgeReport

_TEXTS, _SOURCE, _REPORT = "item_texts.json", "source.json", "report.json"
_PARTS = "parts"


class KnowledgeArtifact(Artifact):
    """Each item in words."""

    def item_texts(self) -> list[str]:
        """The catalogue's attributes as one text for each item_index 1..N."""
        texts: list[str] = self.read_json(_TEXTS)
        return texts

    def knowledge(self) -> list[str]:
        """The language model's descriptions, aligned with the texts; "" where there is none."""
        arrays = TextArrays.open(self.folder)
        return [arrays.text_of(row) for row in range(1, len(arrays.days))]

    def info(self) -> KnowledgeInfo | None:
        """The descriptions, for a manifest; None where there are none."""
        n_texts = TextArrays.open(self.folder).n_texts
        if not n_texts:
            return None
        source = KnowledgeSource.model_validate(self.read_json(_SOURCE))
        return KnowledgeInfo(source=source, n_texts=n_texts)

    @staticmethod
    def write(
        folder: Path,
        item_texts: Sequence[str],
        knowledge: ItemKnowledge,
        source: KnowledgeSource,
        report: KnowledgeReport,
    ) -> None:
        """Write the items' texts, what was written about them, its origin and the counts."""
        write_json(folder / _TEXTS, [*item_texts])
        TextArrays.of(knowledge.texts, knowledge.made_on).save(folder)
        write_json(folder / _SOURCE, source.model_dump(mode="json"))
        write_json(folder / _REPORT, report.to_json())


@dataclass(frozen=True)
class KnowledgeStage(EngineStage[KnowledgeArtifact]):
    """From a catalogue to item_knowledge.

    Attributes:
        data: the data set.
        choices: model, prompt and generation.
        regenerate: ignore the bundled knowledge.
    """

    data: DataArtifact
    choices: KnowledgeConfig
    regenerate: bool = False

    name = "knowledge"

    @property
    def artifact(self) -> type[KnowledgeArtifact]:
        """See `KnowledgeArtifact`."""
        return KnowledgeArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return self.choices.model_dump() | {"regenerate": self.regenerate}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data, and a prompt file by its content."""
        prompt = Path(self.choices.prompt)
        is_own = prompt.suffix == ".txt" and prompt.is_file()
        return {**super().inputs, **({"prompt": hash_inputs([prompt])} if is_own else {})}

    def run(self, folder: Path) -> Facts:
        """Write the items' texts and their knowledge.

        Raises:
            LongtailError: the language model can't be used, in one line.
        """
        from offline.item_text import item_texts
        from offline.knowledge.generation import generate_knowledge
        from offline.knowledge.provenance import source_of

        texts = item_texts(self.data.attributes(), self.data.item_ids(), self.choices.text_columns)
        with self.workplace(folder / _PARTS) as workplace:
            knowledge, report = generate_knowledge(
                texts,
                self.choices,
                cache_folder(),
                regenerate=self.regenerate,
                workplace=workplace,
            )
        KnowledgeArtifact.write(folder, texts, knowledge, source_of(self.choices), report)
        facts = {"texts": report.n_texts, "bundled": report.from_bundled}
        return facts | {"cached": report.from_cache, "generated": report.generated}
