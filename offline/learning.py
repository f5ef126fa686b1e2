"""The stages that builds and benchmarks share: from a data set to a fitted recommender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from offline.alignment.settings import Settings
from offline.knowledge.config import KnowledgeConfig
from offline.recipe import Recipe
from offline.stages.added_data import AddedDataArtifact
from offline.stages.aligned_knowledge import AlignedKnowledgeStage
from offline.stages.alignment import AlignmentArtifact, AlignmentStage
from offline.stages.augmentation import AugmentationStage
from offline.stages.behaviour import BehaviourStage
from offline.stages.data import DataArtifact
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.encoding import EncodingArtifact, EncodingStage
from offline.stages.knowledge import KnowledgeArtifact, KnowledgeStage
from offline.stages.pairs import PairsStage
from offline.stages.recommender import RecommenderArtifact, RecommenderStage
from offline.stages.stage import ArtifactT, Stage
from offline.stages.start import StartArtifact


class Make(Protocol):
    """Runs a stage if its artifact isn't current, or only plans it."""

    def __call__(self, stage: Stage[ArtifactT]) -> ArtifactT:
        """The stage's artifact."""
        ...


@dataclass(frozen=True)
class Learned:
    """The artifacts of one data set, and the text encoder that was used."""

    knowledge: KnowledgeArtifact
    encoder: EncoderChoice
    encoding: EncodingArtifact
    recommender: RecommenderArtifact
    added: AddedDataArtifact | None = None


@dataclass(frozen=True)
class Described:
    """What items are known by, and the text encoder; `alignment` is None where there is none."""

    knowledge: KnowledgeArtifact
    encoder: EncoderChoice
    alignment: AlignmentArtifact | None


def describe(
    data: DataArtifact,
    recipe: Recipe,
    asked: KnowledgeConfig,
    make: Make,
    *,
    regenerate: bool = False,
) -> Described:
    """knowledge → behaviour → alignment → aligned knowledge, the first alone in most recipes.

    Args:
        data: the data set.
        recipe: the choices.
        asked: settings of knowledge for the data set's items.
        make: runs or plans each stage.
        regenerate: ignore the bundled knowledge.

    Raises:
        ConfigError: the recipe aligns what can't be aligned.
    """
    encoding, tuning = recipe.encoding, recipe.behaviour
    encoder = EncoderChoice.as_it_is(encoding.encoder)
    if recipe.aligns:  # before anything takes long
        _alignment_settings(recipe, asked, encoder).check()
    knowledge = make(KnowledgeStage(data, asked, regenerate))
    if tuning.stages:
        tuned = make(BehaviourStage(data, knowledge, tuning, encoding.encoder, encoding.text))
        encoder = tuned.encoder(tuning.items_by)
    if not recipe.aligns:
        return Described(knowledge, encoder, None)
    settings = _alignment_settings(recipe, asked, encoder)
    alignment = make(AlignmentStage(data, knowledge, encoder, settings))
    knowledge = make(AlignedKnowledgeStage(knowledge, alignment, settings))
    if not recipe.alignment.freeze_encoder:
        encoder = alignment.encoder()
    return Described(knowledge, encoder, alignment)


def learn(
    data: DataArtifact,
    recipe: Recipe,
    asked: KnowledgeConfig,
    make: Make,
    *,
    regenerate: bool = False,
    start: StartArtifact | None = None,
) -> Learned:
    """`describe` → encoding → augmentation or pairs → recommender.

    A language model adds nothing where the recipe doesn't ask for it. `start` is the model that the
    recommender's training begins with; None: random weights. Other arguments are as for
    `describe`.
    """
    described = describe(data, recipe, asked, make, regenerate=regenerate)
    knowledge, encoder = described.knowledge, described.encoder
    encoded = make(EncodingStage(knowledge, recipe.encoding, encoder))
    added = _add(data, recipe, make)
    fitted = make(RecommenderStage(data, encoded, recipe.model, recipe.training, added, start))
    return Learned(knowledge, encoder, encoded, fitted, added)


def _add(data: DataArtifact, recipe: Recipe, make: Make) -> AddedDataArtifact | None:
    """What a language model adds to the training data of the recipe's kind."""
    if recipe.kind == "direct":
        return make(PairsStage(data, recipe.pairs)) if recipe.augments else None
    return make(AugmentationStage(data, recipe.augmentation)) if recipe.augments else None


def _alignment_settings(recipe: Recipe, asked: KnowledgeConfig, encoder: EncoderChoice) -> Settings:
    """The tables of a recipe that alignment reads.

    Args:
        recipe: the choices.
        asked: settings of knowledge for the data set's items.
        encoder: as it is before alignment.
    """
    return Settings(
        alignment=recipe.alignment,
        knowledge=asked,
        encoding=recipe.encoding,
        encoder=encoder.name,
        recommender=recipe.recommender,
        training=recipe.training,
    )
