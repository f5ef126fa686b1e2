"""The whole offline path, in order: `longtail build`.

Every stage is an artifact in the build's folder, and is a module of its own in `offline.stages`.
torch and transformers are imported by the stages that need them, when they run: a build with
nothing to do takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from model_store.errors import ConfigError
from offline.artifact import locked
from offline.assembly import BundleParts, write_bundle
from offline.engine.local import LocalEngine
from offline.engine.work import Engine
from offline.evaluate.verdict import warnings_about
from offline.inputs import Source
from offline.instruction.reranking_config import RerankingConfig
from offline.knowledge.config import KnowledgeConfig
from offline.learning import Learned, Make, learn
from offline.rating_build import make_parts
from offline.recipe import Recipe
from offline.revision import code_revision
from offline.stages.candidates import CandidatesStage
from offline.stages.data import DataArtifact, DataStage, SplitName
from offline.stages.dislikes import DislikesArtifact, DislikesStage
from offline.stages.evaluation import EvaluationArtifact, EvaluationStage
from offline.stages.export import ExportStage
from offline.stages.instruction import InstructionStage
from offline.stages.label_graph import LabelGraphArtifact, LabelGraphStage
from offline.stages.ratings import RatingSplitName
from offline.stages.recommender import RecommenderArtifact
from offline.stages.refit import RefitStage
from offline.stages.reranker import RerankerArtifact, RerankerStage
from offline.stages.stage import ArtifactT, Log, Stage, run_stage
from offline.stages.start import StartArtifact
from offline.stages.text_encoder import TextEncoderStage
from offline.stages.tuning import TuningStage
from offline.training.group import ALONE, Group

Suit = Callable[[int, int], Recipe]
"""A recipe for numbers of interactions and items."""
RerankerTime = Literal["now", "later", "never"]
"""When a bundle gets its reranker; later: only once the language model has been exported."""


@dataclass(frozen=True)
class Fitted:
    """A recommender that was fitted to the training part, and its figures.

    `dislikes` is None where no interaction is negative.
    """

    learned: Learned
    evaluation: EvaluationArtifact
    dislikes: DislikesArtifact | None


@dataclass(frozen=True)
class Build:
    """A build: its source, its choices and its place.

    Attributes:
        source: the files to read.
        recipe: the choices.
        root: folder of the stages; the bundle is `root/bundle`.
        split: name of the split, whose held-out interactions decide choices and figures; None:
            that of the recipe's kind, `leave_one_out`, or for ratings `random`.
        refit: put the model trained on everything, held-out interactions too, into the bundle.
        regenerate: ignore the bundled knowledge.
        log: called with lines of progress.
        suit: chooses the recipe once the data are read, in place of `recipe`.
        reranker: when the bundle gets its reranker.
        start: model that the training begins with; None: random weights.
        engine: runs what can be divided among processes.
        group: the processes that train together; all of them run the build, and the first one alone
            writes.
    """

    source: Source
    recipe: Recipe
    root: Path
    split: RatingSplitName | None = None
    refit: bool = False
    regenerate: bool = False
    log: Log = print
    suit: Suit | None = None
    reranker: RerankerTime = "now"
    start: StartArtifact | None = None
    engine: Engine = field(default=LocalEngine(1))
    group: Group = ALONE

    def run(self) -> Path:
        """Bring every stage up to date and answer the bundle's folder.

        Raises:
            LongtailError: in one line, why an input or a choice can't be used.
        """
        if self.recipe.encoding.shuffled:
            raise ConfigError(
                "encoding.shuffled = true: a control for `longtail benchmark`; a bundle of it "
                "would answer by texts of other items"
            )
        if self.group.size > 1 and self.recipe.kind != "sequential":
            raise ConfigError(
                f"a recipe of kind {self.recipe.kind} is trained by one process, not by "
                f"{self.group.size}: start it without torchrun"
            )
        with locked(self.root) if self.group.leads else nullcontext():
            return self._run_stages()

    def _run_stages(self) -> Path:
        choices, rules = self.recipe.data, self.recipe.events
        split = self._order_split()
        data = self._made(DataStage(self.source, split, self.log, choices, rules))
        if self.recipe.kind == "rating":
            return self._rate(data)
        if self.suit is None:
            return self._build_on(data)
        recipe = self.suit(int(data.facts["interactions"]), data.n_items)
        return replace(self, recipe=recipe, suit=None)._build_on(data)

    def _order_split(self) -> SplitName:
        """How the last interactions are held out; of a rating build no choice depends on them."""
        if self.recipe.kind == "rating" or self.split is None:
            return "leave_one_out"
        if self.split == "random":
            raise ConfigError(
                "--split random holds ratings out, for recipes of kind rating; "
                f"this recipe is of kind {self.recipe.kind}"
            )
        return self.split

    def _rate(self, data: DataArtifact) -> Path:
        split = self.split or "random"
        parts = make_parts(data, self.recipe, split, self._made, refit=self.refit)
        configuration = {
            "recipe": self.recipe.described(),
            "item_kind": self._asked.item_kind,
            "split": split,
            "refit": self.refit,
        }
        return write_bundle(self.root / "bundle", parts, configuration, self.log)

    def _build_on(self, data: DataArtifact) -> Path:
        split = self._order_split()
        fitted = self.fit(data, split)
        served = self.refitted(data, fitted) if self.refit else fitted.learned.recommender
        return self.assemble(data, fitted, served, split, refit=self.refit)

    def fit(self, data: DataArtifact, split: str) -> Fitted:
        """Fit the recipe's recommender to the training part, and measure it.

        Args:
            data: the data set, split.
            split: name of the split, for the report.

        Raises:
            LongtailError: in one line, why it can't be done.
        """
        if self.group.leads:
            self.announce_cost(data)
        learned = self._learn(data, self._made)
        notes = {"recipe": self.recipe.described(), "code_revision": code_revision()}
        made_with = {**self.recipe.chosen_keys(), "code_revision": notes["code_revision"]}
        evaluation = self._made(EvaluationStage(data, learned.recommender, split, notes, made_with))
        dislikes = None
        if data.event_types():
            dislikes = self._made(DislikesStage(data, learned.recommender))
        return Fitted(learned, evaluation, dislikes)

    def refitted(self, data: DataArtifact, fitted: Fitted) -> RecommenderArtifact:
        """The recommender trained on everything, held-out interactions too."""
        learned = fitted.learned
        return self._made(
            RefitStage(data, learned.encoding, learned.recommender, learned.added, self.start)
        )

    def assemble(
        self,
        data: DataArtifact,
        fitted: Fitted,
        served: RecommenderArtifact,
        split: str,
        *,
        refit: bool,
    ) -> Path:
        """Export a recommender and write the bundle; answers its folder.

        Args:
            data: the data set.
            fitted: see `fit`.
            served: the fitted recommender, or the refitted one.
            split: name of the split.
            refit: which of the two it is.

        Raises:
            LongtailError: in one line, why it can't be done.
        """
        learned, encoding = fitted.learned, self.recipe.encoding
        text_encoder = None
        if encoding.encodes:
            texts = learned.knowledge.item_texts()
            text_encoder = self._made(TextEncoderStage(encoding.encoder, learned.encoder, texts))
        exported = self._made(ExportStage(data, served, self.recipe.retrieval))
        language_model, reranker = self._rerank(data, learned, served, self._made)
        place = self.root / "bundle"
        if not self.group.leads:
            return place
        bundle = write_bundle(
            place,
            BundleParts(
                *(
                    data,
                    learned.knowledge,
                    learned.encoding,
                    text_encoder,
                    served,
                    fitted.evaluation,
                    exported,
                ),
                language_model=language_model,
                reranker=reranker,
                dislikes=fitted.dislikes,
            ),
            configuration={
                "recipe": self.recipe.described(),
                "item_kind": self._asked.item_kind,
                "split": split,
                "refit": refit,
            },
            log=self.log,
        )
        for warning in warnings_about(fitted.evaluation.report()):
            self.log(f"WARNING: {warning}")
        return bundle

    def _rerank(
        self, data: DataArtifact, learned: Learned, served: RecommenderArtifact, make: Make
    ) -> tuple[LabelGraphArtifact | None, RerankerArtifact | None]:
        """label graph → candidates → reranker, where the recipe asks for them."""
        choices = self.recipe.reranking_on(self.source.data_set)
        if self.reranker == "never" or choices is None:
            return None, None
        planned = self._label_graph(data, learned, choices, self._planned)
        if self.reranker == "later" and not planned.is_current(self.root):
            self.log("reranker: left for later")
            return None, None
        exported = make(self._label_graph(data, learned, choices, make))
        layout, name = choices.layout(), choices.tuning.model
        chosen = learned.recommender
        candidates = make(CandidatesStage(data, chosen, layout))
        stage = RerankerStage(data, chosen, candidates, served, exported, layout, name)
        return exported, make(stage)

    def _label_graph(
        self, data: DataArtifact, learned: Learned, choices: RerankingConfig, make: Make
    ) -> LabelGraphStage:
        """instruction → tuning, where the recipe asks for them, and the stage that follows."""
        if not choices.tune:
            return LabelGraphStage(choices, (data,), None)
        examples = make(
            InstructionStage(data, learned.encoding, learned.recommender, choices.instruction)
        )
        tuned = make(TuningStage(data, examples, choices.tuning))
        return LabelGraphStage(choices, (data,), tuned)

    def announce_cost(self, data: DataArtifact) -> None:
        """Log the expected time of the stages that will be run."""
        pending: list[str] = []

        def plan(stage: Stage[ArtifactT]) -> ArtifactT:
            if not stage.is_current(self.root):
                pending.append(stage.name)
            return stage.planned(self.root)

        learned = self._learn(data, plan)
        self._rerank(data, learned, learned.recommender, plan)
        if not pending:
            return
        from offline.cost import expected_costs

        recipe = self.recipe.model_copy(update={"knowledge": self._asked})
        self.log("expected:")
        costs = expected_costs(
            pending, data, recipe, regenerate=self.regenerate, n_processes=self.group.size
        )
        for cost in costs:
            self.log(f"  {cost}")

    @property
    def _asked(self) -> KnowledgeConfig:
        return self.source.adapt(self.recipe.knowledge)

    def _learn(self, data: DataArtifact, make: Make) -> Learned:
        recipe, regenerate = self.recipe, self.regenerate
        return learn(data, recipe, self._asked, make, regenerate=regenerate, start=self.start)

    def _planned(self, stage: Stage[ArtifactT]) -> ArtifactT:
        return stage.planned(self.root)

    def _made(self, stage: Stage[ArtifactT]) -> ArtifactT:
        return run_stage(stage.on(self.engine), self.root, self.log, self.group)
