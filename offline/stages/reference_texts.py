"""Describe each item in words of another data set, instead of a language model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Facts, write_json
from offline.fingerprint import hash_inputs
from offline.stages.data import DataArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import Stage

_OWN, _GIVEN = "item_texts.json", "given.json"


class GivenTexts(KnowledgeArtifact):
    """Each item in words that no language model wrote when the artifact was made."""

    def item_texts(self) -> list[str]:
        """See `KnowledgeArtifact.item_texts`."""
        own: list[str] = self.read_json(_OWN)
        return own

    def knowledge(self) -> list[str]:
        """The given texts, aligned with the items' own; "" where there is none."""
        given: list[str] = self.read_json(_GIVEN)
        return given

    @staticmethod
    def write_texts(folder: Path, item_texts: Sequence[str], given: Sequence[str]) -> None:
        """Write the files of an artifact."""
        write_json(folder / _OWN, [*item_texts])
        write_json(folder / _GIVEN, [*given])


@dataclass(frozen=True)
class ReferenceTextsStage(Stage[GivenTexts]):
    """From a catalogue and another data set to item_knowledge.

    Attributes:
        data: the data set.
        reference: folder of the other one; see `offline.data.reference_texts`.
    """

    data: DataArtifact
    reference: Path

    name = "reference_texts"

    @property
    def artifact(self) -> type[GivenTexts]:
        """See `GivenTexts`."""
        return GivenTexts

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data, and the other data set's texts by their content."""
        from offline.data.reference_texts import ITEMS, REFERENCE

        files = [self.reference / name for name in (ITEMS, REFERENCE)]
        return {**super().inputs, "reference": hash_inputs(files)}

    def run(self, folder: Path) -> Facts:
        """Write the items' own texts, and the descriptions; "" for items that aren't found.

        Raises:
            InputError: the descriptions can't be read.
        """
        from offline.data.reference_texts import match_reference_texts
        from offline.item_text import item_texts

        attributes = self.data.attributes()
        found = match_reference_texts(attributes, self.data.n_items, self.reference)
        GivenTexts.write_texts(folder, item_texts(attributes, self.data.item_ids()), found)
        return {"items": len(found), "described": sum(map(bool, found))}
