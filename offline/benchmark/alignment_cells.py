"""The cells of an alignment grid: recipes that differ in the texts of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError
from offline.benchmark.alignment_grid import AlignmentGrid, Texts
from offline.benchmark.cells import Cell, Folders, GridRun, log_nothing, shared_folders
from offline.benchmark.grid import Entry
from offline.data.split import Split
from offline.item_text import TITLE
from offline.knowledge.config import KnowledgeConfig
from offline.learning import Described, describe
from offline.recipe import Recipe
from offline.stages.chosen_texts import Choice, ChosenTextsStage
from offline.stages.data import DataArtifact
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.encoding import EncodingArtifact, EncodingStage
from offline.stages.knowledge import KnowledgeArtifact, KnowledgeStage
from offline.stages.recommender import RecommenderArtifact, RecommenderStage
from offline.stages.reference_texts import ReferenceTextsStage
from offline.stages.resets import ResetsStage
from offline.stages.stage import ArtifactT, Stage, run_stage
from offline.stages.text_rewards import TextRewardsArtifact, TextRewardsStage

_OF_RECIPE = (Texts.NONE, Texts.OWN, Texts.BEFORE)
"""Rows that a recipe makes alone."""
_OF_POOL = (Texts.RANDOM, Texts.BEST)
_SHOWN = (Texts.BEFORE, *_OF_POOL, Texts.ALIGNED)
"""Rows whose texts the page shows; reference texts belong to another data set's makers."""


@dataclass(frozen=True)
class AlignmentRun(GridRun):
    """An alignment grid at work on one data set; `grid` is its table.

    Attributes:
        alignment: the grid that the table was made from.
        reference: folder of the reference texts; None where there are none.
    """

    alignment: AlignmentGrid = field(kw_only=True)
    reference: Path | None = field(kw_only=True)

    def fit(
        self, entry: Entry, recipe: Recipe, data: DataArtifact, folders: Folders
    ) -> RecommenderArtifact:
        """See `GridRun.fit`; rows with other texts than a recipe's take these."""
        _, row = self.alignment.row_of(entry.name)
        if row in _OF_RECIPE:
            return super().fit(entry, recipe, data, folders)
        knowledge = self.knowledge(row, recipe.training.seed)
        encoder = EncoderChoice.as_it_is(recipe.encoding.encoder)
        if row == Texts.ALIGNED:
            encoder = self._aligned.encoder
        place = knowledge.folder.parent
        encoded = run_stage(EncodingStage(knowledge, recipe.encoding, encoder), place, log_nothing)
        return folders.make(RecommenderStage(data, encoded, recipe.recommender, recipe.training))

    def knowledge(self, row: Texts, seed: int) -> KnowledgeArtifact:
        """The texts of a row.

        Args:
            row: with texts besides the items' own.
            seed: of the recommender that chooses among a pool's texts.

        Raises:
            ConfigError: there are no reference texts.
            LongtailError: a stage fails.
        """
        if row == Texts.BEFORE:
            return self._before
        if row == Texts.ALIGNED:
            return self._aligned.knowledge
        if row == Texts.REFERENCE:
            if self.reference is None:
                raise ConfigError(
                    f"reference texts: give their folder with "
                    f"--data {self.alignment.reference_texts}=FOLDER"
                )
            stage = ReferenceTextsStage(self.read_data(), self.reference)
            return run_stage(stage, self.root / "texts-reference", log_nothing)
        choice: Choice = "best" if row == Texts.BEST else "random"
        return run_stage(
            ChosenTextsStage(self._before, self.rewards(seed), choice),
            self.root / f"texts-{choice}-{seed}",
            log_nothing,
        )

    def rewards(self, seed: int) -> TextRewardsArtifact:
        """Rewards of a pool's texts by the first backbone, trained before alignment."""
        recipe = self._recipe(seed)
        stage = TextRewardsStage(
            self.read_data(),
            self._before,
            self._encoded_before,
            recipe.encoding,
            EncoderChoice.as_it_is(recipe.encoding.encoder),
            self._asked,
            recipe.recommender,
            recipe.training,
            self.alignment.alignment,
        )
        return run_stage(stage, self.root / f"rewards-{seed}", self.log)

    def resets(self) -> list[dict[str, Any]]:
        """Figures of LLM and recommender, each from before alignment or from after it."""
        recipe, aligned = self._recipe(self.grid.seeds[0]), self._aligned
        if aligned.alignment is None:
            raise TypeError("the recipe of the aligned row has no alignment")
        place = aligned.knowledge.folder.parent
        encoded = EncodingStage(aligned.knowledge, recipe.encoding, aligned.encoder)
        stage = ResetsStage(
            self.read_data(),
            self._encoded_before,
            run_stage(encoded, place, log_nothing),
            aligned.alignment,
            recipe.recommender,
            recipe.training,
        )
        return run_stage(stage, place, log_nothing).rows()

    def split(self) -> tuple[Split, int]:
        """See `GridRun.split`.

        Raises:
            ConfigError: an item that is to be shown isn't in the catalogue.
        """
        found = super().split()
        ids = self.read_data().item_ids()
        for item_id in self.alignment.shown_items:
            if item_id not in ids:
                raise ConfigError(f"shown_items: {item_id!r} is not in {self.choice.name}")
        return found

    def describe(self, cells: Sequence[Cell]) -> dict[str, Any]:
        """What the page says besides the figures of the finished cells."""
        finished = {
            (self.alignment.row_of(cell.entry)[1], cell.seed)
            for cell in cells
            if cell.seed is not None
        }
        rewarded = sorted({seed for row, seed in finished if row in _OF_POOL})
        first = self.grid.seeds[0]
        shown = [row for row in self.alignment.rows if row in _SHOWN and (row, first) in finished]
        described: float | None = None
        if (Texts.REFERENCE, first) in finished:
            facts = self.knowledge(Texts.REFERENCE, first).facts
            described = float(facts["described"]) / float(facts["items"])
        return {
            "rewards": {str(seed): dict(self.rewards(seed).facts) for seed in rewarded},
            "described_items": described,
            "resets": self.resets() if Texts.ALIGNED in shown else [],
            "shown": self._texts_of(shown, first),
        }

    def _texts_of(self, rows: Sequence[Texts], seed: int) -> dict[str, dict[str, str]]:
        """Texts of the shown items, by title and row."""
        data = self.read_data()
        attributes, ids = data.attributes(), data.item_ids()
        texts = {row: self.knowledge(row, seed).knowledge() for row in rows}
        shown: dict[str, dict[str, str]] = {}
        for item_id in self.alignment.shown_items:
            item = ids.indices([item_id])[0][0]
            title = f"{attributes.row(item).get(TITLE, item_id)} ({item_id})"
            shown[title] = {row.value: known[item - 1] for row, known in texts.items()}
        return shown

    def _recipe(self, seed: int) -> Recipe:
        entry = self.alignment.entry(self.alignment.backbones[0], Texts.BEFORE)
        return self.grid.recipe_of(self.choice, entry, seed)

    @cached_property
    def _aligned(self) -> Described:
        """Texts after an alignment with the first backbone and seed, and all users.

        One for all rows, seeds and shares.
        """
        choices = self.alignment.alignment.model_dump(exclude_unset=True)
        recipe = self._recipe(self.grid.seeds[0]).with_changes(alignment=choices)
        shared = shared_folders(recipe, self._asked)

        def make(stage: Stage[ArtifactT]) -> ArtifactT:
            return run_stage(stage, self.root / shared.get(stage.name, "texts-aligned"), self.log)

        return describe(self.read_data(), recipe, self._asked, make)

    @cached_property
    def _asked(self) -> KnowledgeConfig:
        return self.source.adapt(self._recipe(self.grid.seeds[0]).knowledge)

    @cached_property
    def _before(self) -> KnowledgeArtifact:
        stage = KnowledgeStage(self.read_data(), self._asked)
        shared = shared_folders(self._recipe(self.grid.seeds[0]), self._asked)
        return run_stage(stage, self.root / shared[stage.name], log_nothing)

    @cached_property
    def _encoded_before(self) -> EncodingArtifact:
        encoding = self._recipe(self.grid.seeds[0]).encoding
        stage = EncodingStage(self._before, encoding, EncoderChoice.as_it_is(encoding.encoder))
        return run_stage(stage, self._before.folder.parent, log_nothing)
