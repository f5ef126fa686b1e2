"""Have the language model describe each item and the people who like it (SeRALM 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Artifact, Facts, write_json
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.knowledge.config import KnowledgeConfig
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage

_TEXTS, _KNOWLEDGE, _REPORT = "item_texts.json", "knowledge.json", "report.json"


class KnowledgeArtifact(Artifact):
    """Each item in words."""

    def item_texts(self) -> list[str]:
        """The catalogue's attributes as one text for each item_index 1..N."""
        texts: list[str] = self.read_json(_TEXTS)
        return texts

    def knowledge(self) -> list[str]:
        """The language model's descriptions, aligned with the texts; "" where there is none."""
        knowledge: list[str] = self.read_json(_KNOWLEDGE)
        return knowledge


@dataclass(frozen=True)
class KnowledgeStage(Stage[KnowledgeArtifact]):
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

        texts = item_texts(self.data.attributes(), self.data.item_ids())
        knowledge, report = generate_knowledge(
            texts, self.choices, cache_folder(), regenerate=self.regenerate
        )
        write_json(folder / _TEXTS, texts)
        write_json(folder / _KNOWLEDGE, knowledge)
        write_json(folder / _REPORT, report.to_json())
        facts = {"texts": report.n_texts, "bundled": report.from_bundled}
        return facts | {"cached": report.from_cache, "generated": report.generated}
