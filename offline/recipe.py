"""Recipes: the choices of a build, one small TOML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.errors import ConfigError, InputError
from model_store.event_rules import EventRules
from model_store.manifest import Manifest
from offline.alignment.config import AlignmentConfig
from offline.augmentation.completion_config import CompletionConfig
from offline.augmentation.config import AugmentationConfig, PairsConfig
from offline.behaviour.config import BehaviourConfig
from offline.config_file import config_names, describe_first, read_config_file
from offline.data.config import DataConfig
from offline.direct.config import DirectConfig, LightgcnConfig
from offline.encoding.config import EncodingConfig
from offline.export.config import RetrievalConfig
from offline.instruction.reranking_config import RerankingConfig
from offline.knowledge.config import KnowledgeConfig
from offline.rating.config import DeepFmConfig, RatingConfig
from offline.recommender.config import RecommenderConfig, SasrecConfig, TrainingConfig

RECIPES = Path(__file__).parent / "recipes"
DEFAULT, SPARSE = "default", "sparse"
# Interactions an item: MovieLens-100K, where `default` is ahead, has 59; Amazon Beauty, where
# `sparse` is, has 16.
_SPARSE_BELOW = 30
_TABLES_OF: dict[str, tuple[str, ...]] = {
    "sequential": (
        *("data", "events", "knowledge", "behaviour", "encoding", "alignment", "augmentation"),
        *("recommender", "training", "retrieval", "reranking"),
    ),
    "direct": ("data", "events", "knowledge", "encoding", "pairs", "direct", "retrieval"),
    "rating": ("data", "completion", "rating"),
}


class Recipe(BaseModel):
    """The choices of a build; every table may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = Field(min_length=1, description="one line about the recipe")
    kind: Literal["sequential", "direct", "rating"] = Field(
        "sequential", description="of the bundle that is built"
    )
    data: DataConfig = DataConfig()
    events: EventRules = EventRules()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    encoding: EncodingConfig = EncodingConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    pairs: PairsConfig = PairsConfig()
    recommender: RecommenderConfig = SasrecConfig()
    training: TrainingConfig = TrainingConfig()
    direct: DirectConfig = LightgcnConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    reranking: RerankingConfig = RerankingConfig()
    completion: CompletionConfig = CompletionConfig()
    rating: RatingConfig = DeepFmConfig()

    @model_validator(mode="after")
    def _texts_are_encoded_where_they_are_read(self) -> Self:
        if self.encoding.encodes or self.kind == "direct":
            return self
        for key, reads_texts in (
            ("recommender.id_init = 'text'", self.recommender.id_init == "text"),
            ("recommender.knowledge_beside_ids = true", self.recommender.knowledge_beside_ids),
            ("behaviour.stages", bool(self.behaviour.stages)),
            ("alignment.steps", self.aligns),
        ):
            if reads_texts:
                raise ValueError(f"encoding.encoder = 'none': {key} needs an encoder")
        return self

    @model_validator(mode="after")
    def _tables_are_of_the_kind(self) -> Self:
        used = _TABLES_OF[self.kind]
        for table in self.model_fields_set - {"description", "kind", *used}:
            raise ValueError(
                f"kind = {self.kind!r}: nothing reads [{table}] (it reads {', '.join(used)})"
            )
        return self

    @property
    def seed_table(self) -> str:
        """The table whose `seed` is the training's."""
        return "training" if self.kind == "sequential" else self.kind

    @property
    def model(self) -> RecommenderConfig | DirectConfig:
        """The settings of the recommender that is trained."""
        return self.direct if self.kind == "direct" else self.recommender

    @property
    def epochs(self) -> int:
        """Of its training, at most; of each phase, where it has several."""
        return self.direct.epochs if self.kind == "direct" else self.training.epochs

    @property
    def aligns(self) -> bool:
        """Whether the LLM that describes the items is aligned with the recommender first."""
        return self.alignment.steps > 0

    @property
    def tunes_encoder(self) -> bool:
        """Whether the text encoder is trained, on behaviour or in an alignment."""
        return bool(self.behaviour.stages) or (self.aligns and not self.alignment.freeze_encoder)

    @property
    def augments(self) -> bool:
        """Whether a language model adds items to training sequences, or pairs to a loss."""
        return (self.pairs if self.kind == "direct" else self.augmentation).share > 0

    @property
    def completes(self) -> bool:
        """Whether a language model completes attributes of the items."""
        return bool(self.completion.attributes)

    def reranking_on(self, data_set: str | None) -> RerankingConfig | None:
        """How a language model reranks on a data set; None: none does, as of a direct model.

        Args:
            data_set: its name; None for files of a person's own.
        """
        choices = self.reranking.for_data_set(data_set)
        return choices if self.kind == "sequential" and choices.is_wanted else None

    def described(self) -> dict[str, Any]:
        """All that its kind of build reads, defaults too; `Recipe.model_validate` reads it back."""
        return self.model_dump(include={"description", "kind", *_TABLES_OF[self.kind]})

    def chosen_keys(self) -> dict[str, Any]:
        """The keys that the recipe sets, by `table.key`; all others have their defaults."""
        keys: dict[str, Any] = {}
        for table, values in self.model_dump(exclude_unset=True).items():
            if isinstance(values, dict):
                keys |= {f"{table}.{key}": value for key, value in values.items()}
            else:
                keys[table] = values
        return keys

    def with_changes(self, **tables: dict[str, Any]) -> Recipe:
        """A copy with some keys of some tables replaced.

        Keys that were left out stay so: another backbone brings its own defaults.

        Raises:
            ValidationError: there is no such table or key, or a value doesn't fit.
        """
        changed = self.model_dump(exclude_unset=True)
        for table, keys in tables.items():
            changed[table] = changed.get(table, {}) | keys
        return Recipe.model_validate(changed)


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or from a `.toml` file.

    Raises:
        ConfigError: there is no such recipe, or a key or value in it is wrong.
    """
    return read_config_file("recipe", Recipe, name, RECIPES)


def recipe_of(manifest: Manifest) -> Recipe:
    """The recipe that a bundle was built by.

    Raises:
        InputError: it has none, or one of another release.
    """
    try:
        return Recipe.model_validate(manifest.configuration["recipe"])
    except (KeyError, ValidationError):
        raise InputError(
            f"version {manifest.version}: its recipe is none of this release"
        ) from None


def change_recipe(recipe: Recipe, flag: str, **tables: dict[str, Any]) -> Recipe:
    """A recipe with the changes of a command's flag, as a person typed it.

    Raises:
        ConfigError: a change doesn't fit the recipe.
    """
    try:
        return recipe.with_changes(**tables)
    except ValidationError as error:
        raise ConfigError(f"{flag}: {describe_first(error)}") from None


def suited_recipe(n_interactions: int, n_items: int) -> str:
    """Name of the recipe for a catalogue of so many items, where a person names none.

    Items with few interactions are better known by their texts, and their ids stay near these.
    """
    return SPARSE if n_interactions < _SPARSE_BELOW * n_items else DEFAULT


def recipe_names() -> list[str]:
    """The names of the bundled recipes."""
    return config_names(RECIPES)
