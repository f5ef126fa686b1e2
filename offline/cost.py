"""Estimates the cost of a build before it starts: work is counted, paces are measured.

Four stages can take long, and only those that will be run are counted. Paces are not stored: one
of another day, machine or model would be worth less than a second or two of measuring.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.cache import cache_folder
from offline.data.split import Split
from offline.encoding.item_vectors import texts_to_encode
from offline.instruction.scorer_choice import ScorerChoice
from offline.item_text import check_text_columns, item_texts
from offline.knowledge.config import NO_MODEL, KnowledgeConfig
from offline.knowledge.generation import Known, find_known
from offline.recipe import Recipe
from offline.stages.augmentation import draws_of
from offline.stages.data import DataArtifact
from offline.stages.pairs import pairs_of


@dataclass(frozen=True)
class Cost:
    """The work of a stage and its estimated time.

    Attributes:
        stage: its name.
        work: counts of the work.
        seconds: None where nothing takes long.
        basis: basis of the estimate.
    """

    stage: str
    work: str
    seconds: float | None = None
    basis: str = ""

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.stage}: {self.work}"
        basis = f" ({self.basis})" if self.basis else ""
        return f"{self.stage}: {self.work}; about {duration(self.seconds)}{basis}"


def duration(seconds: float) -> str:
    """In words, to two digits or so: 8 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def expected_costs(
    pending: Collection[str],
    data: DataArtifact,
    recipe: Recipe,
    *,
    regenerate: bool,
    n_processes: int = 1,
) -> Iterator[Cost]:
    """Costs of those of the pending stages that can take long, and of all of them together.

    Args:
        pending: names of stages that will be run.
        data: the data stage's artifact.
        recipe: the choices.
        regenerate: ignore the bundled knowledge.
        n_processes: train together. The pace of several is not measured: one of them would hold
            the whole table with its moments for that.

    Raises:
        LongtailError: something can't be used, in one line; the stage would raise it, too.
    """
    attributes, columns = data.attributes(), recipe.knowledge.text_columns
    check_text_columns(attributes, columns)
    texts, cache = item_texts(attributes, data.item_ids(), columns), cache_folder()
    known = find_known(texts, recipe.knowledge, cache, regenerate=regenerate)
    writes = recipe.knowledge.generates or regenerate
    costs = []
    if "knowledge" in pending:
        costs.append(knowledge_cost(known, recipe.knowledge, cache, writes=writes))
        yield costs[-1]
    if "behaviour" in pending:
        yield Cost("behaviour", "the text encoder is tuned; the time that takes is not estimated")
    yield from alignment_costs(pending, recipe, len(texts))
    if "encoding" in pending and recipe.encoding.encodes:
        costs.append(encoding_cost(texts, known, recipe, cache, writes=writes))
        yield costs[-1]
    if "augmentation" in pending:
        draws = draws_of(data, recipe.augmentation)
        asked = draws.prompts, draws.n_labels
        costs.append(asking_cost("augmentation", recipe.augmentation, *asked, cache))
        yield costs[-1]
    if "pairs" in pending:
        pairs = pairs_of(data, recipe.pairs)
        costs.append(asking_cost("pairs", recipe.pairs, pairs.prompts, pairs.n_labels, cache))
        yield costs[-1]
    others = "with what else there is to do somewhat more"
    if "recommender" in pending and n_processes > 1:
        together = f"trained by {n_processes} processes together"
        yield Cost("recommender", f"{together}; the time that takes is not estimated")
        others = f"without the recommender; {others}"
    elif "recommender" in pending:
        costs.append(training_cost(data.split(), data.n_items, recipe))
        yield costs[-1]
    yield from reranking_costs(pending, recipe)
    seconds = sum(cost.seconds or 0.0 for cost in costs)
    yield Cost("together", others, seconds)


def alignment_costs(pending: Collection[str], recipe: Recipe, n_items: int) -> Iterator[Cost]:
    """The work of an alignment and of what follows; their time is not estimated."""
    config, model = recipe.alignment, recipe.knowledge.model
    if "alignment" in pending:
        yield Cost(
            "alignment",
            f"{model}, {config.steps:,} steps, after two trainings of the recommender; hours on a "
            "CPU, and its progress tells how many",
        )
    if "aligned_knowledge" in pending:
        n_tokens = recipe.knowledge.max_new_tokens
        yield Cost("aligned_knowledge", f"{n_items:,} texts of up to {n_tokens} tokens, by {model}")


def reranking_costs(pending: Collection[str], recipe: Recipe) -> Iterator[Cost]:
    """The work of those pending stages that a reranker needs; their time is not estimated."""
    choices = recipe.reranking
    model, examples = choices.tuning.model, choices.instruction
    if "instruction" in pending:
        yield Cost("instruction", f"{examples.folds} trainings of the recommender for candidates")
    if "tuning" in pending:
        n_examples = examples.max_rankings + examples.max_ratings
        yield Cost(
            "tuning",
            f"{model}, up to {n_examples:,} examples, {choices.tuning.epochs} epochs; hours on a "
            "CPU, and its progress tells how many",
        )
    if "label_graph" in pending:
        yield Cost("label_graph", f"{model} is exported in {choices.precision}; some minutes")
    if "reranker" in pending:
        yield Cost("reranker", f"{model} is asked about validation cases; some minutes")


def knowledge_cost(known: Known, config: KnowledgeConfig, cache: Path, *, writes: bool) -> Cost:
    """The cost of generating descriptions; the model is opened and timed if any are missing.

    Args:
        known: bundled and cached descriptions.
        config: model, prompt and generation.
        cache: the cache folder.
        writes: whether it generates missing ones.

    Raises:
        ConfigError: the model or the prompt can't be read.
        EndpointError: the endpoint doesn't answer.
    """
    from offline.knowledge.opening import open_language_model
    from offline.knowledge.pace import measure_generation

    report, n_missing = known.report, len(known.missing)
    if config.model == NO_MODEL:
        return Cost("knowledge", f"none; {report.n_items:,} items are known by their own texts")
    work = (
        f"{report.n_texts:,} items, {report.from_bundled:,} described in what comes with Longtail, "
        f"{report.from_cache:,} in the cache"
    )
    if not n_missing:
        return Cost("knowledge", work)
    if not writes:
        others = f"{n_missing:,} known by their own texts"
        return Cost("knowledge", f"{work}, {others} (--generate: {config.model} describes them)")
    pace = measure_generation(known.missing, config, open_language_model(config, cache))
    return Cost(
        "knowledge",
        f"{work}, {n_missing:,} to be described by {config.model} in up to "
        f"{n_missing * config.max_new_tokens:,} tokens",
        n_missing * pace.item_s,
        f"{pace.item_s:.2g} s an item, measured on {pace.n_measured}",
    )


def encoding_cost(
    item_texts: Sequence[str], known: Known, recipe: Recipe, cache: Path, *, writes: bool
) -> Cost:
    """The cost of encoding; missing descriptions are assumed to be long.

    Args:
        item_texts: of all items.
        known: their descriptions so far.
        recipe: names the encoder.
        cache: the cache folder.
        writes: whether missing ones will be generated.

    Raises:
        ConfigError: the encoder can't be found or read.
    """
    from offline.encoding.sentence_encoder import SentenceEncoder
    from offline.encoding.vector_cache import CachedEncoder

    texts = texts_to_encode(item_texts, known.knowledge, recipe.encoding.text)
    texts = list(dict.fromkeys(texts))
    encoder = SentenceEncoder(recipe.encoding.encoder, cache)
    work = f"{len(texts):,} texts"
    if not recipe.behaviour.stages:  # else they are encoded by another one
        n_texts, texts = len(texts), CachedEncoder(encoder, cache).missing(texts)
        work += f", {n_texts - len(texts):,} encoded before" if len(texts) < n_texts else ""
    if not texts:
        return Cost("encoding", work)
    n_tokens = int(encoder.count_tokens(texts).sum())
    if writes:
        n_tokens += len(known.missing) * recipe.knowledge.max_new_tokens
    pace = encoder.measure_pace(texts)
    return Cost(
        "encoding",
        f"{work}, {n_tokens:,} tokens",
        n_tokens / pace,
        f"{pace:,.0f} tokens/s, measured on some of them",
    )


def asking_cost(
    stage: str, choice: ScorerChoice, prompts: Sequence[str], n_labels: Sequence[int], cache: Path
) -> Cost:
    """The cost of asking a language model for labels; it is opened and timed.

    Args:
        stage: that asks.
        choice: the language model.
        prompts: of sparse users, which are none where nobody has so few interactions.
        n_labels: of each prompt.
        cache: folder of downloads.

    Raises:
        ConfigError: the language model can't be found or read.
    """
    from offline.instruction.prompt_scores import measure_prompt_s
    from offline.instruction.scorer_choice import open_scorer

    if not prompts:
        return Cost(stage, "no user has so few interactions")
    scorer = open_scorer(choice, cache, prompts, n_labels)
    prompt_s = measure_prompt_s(scorer, prompts, n_labels)
    return Cost(
        stage,
        f"{len(prompts):,} prompts of {choice.model}",
        len(prompts) * prompt_s,
        f"{prompt_s:.2g} s a prompt, measured on some of them",
    )


def training_cost(split: Split, n_items: int, recipe: Recipe) -> Cost:
    """The cost of a training of all epochs; measured with random vectors of texts.

    Raises:
        ConfigError: the network can't be trained so here.
    """
    from offline.models import new_recommender
    from offline.recommender.recommender import TrainingData

    # Whatever the encoder's size, the network sees as many features as its own.
    size = recipe.recommender.member_size
    vectors = np.random.default_rng(0).standard_normal((n_items + 1, size), dtype=np.float32)
    data = TrainingData.of_split(split, n_items, vectors)
    pace = new_recommender(recipe.model, recipe.training).measure_pace(data)
    n_epochs = recipe.epochs
    return Cost(
        "recommender",
        f"{sum(map(len, data.sequences)):,} interactions, {n_items:,} items, "
        f"at most {n_epochs} epochs of {pace.epoch_s:.2g} s",
        n_epochs * pace.epoch_s,
        f"measured on {pace.n_measured} steps",
    )
