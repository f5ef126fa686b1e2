"""Know each item of a pool by its best text or by a random one, and all others as before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from offline.artifact import Facts
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.reference_texts import GivenTexts
from offline.stages.stage import Stage
from offline.stages.text_rewards import TextRewardsArtifact

Choice = Literal["best", "random"]


@dataclass(frozen=True)
class ChosenTextsStage(Stage[GivenTexts]):
    """From a pool's texts to item_knowledge.

    Attributes:
        knowledge: of the items that the pool has no texts of.
        rewards: of the pool's texts.
        choice: which of the texts.
    """

    knowledge: KnowledgeArtifact
    rewards: TextRewardsArtifact
    choice: Choice

    name = "chosen_texts"

    @property
    def artifact(self) -> type[GivenTexts]:
        """See `GivenTexts`."""
        return GivenTexts

    @property
    def config(self) -> Facts:
        """The choice."""
        return {"choice": self.choice}

    def run(self, folder: Path) -> Facts:
        """Write the items' own texts and their knowledge."""
        known = self.knowledge.knowledge()
        chosen = self.rewards.best() if self.choice == "best" else self.rewards.random()
        for item, text in chosen.items():
            known[item - 1] = text
        GivenTexts.write_texts(folder, self.knowledge.item_texts(), known)
        return {"items": len(known), "chosen": len(chosen), "own_text_alone": known.count("")}
