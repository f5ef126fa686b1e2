"""A whole alignment: from inputs to aligned weights and a report, in a folder that resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_store.files import write_atomically
from offline.alignment.alignment import Alignment
from offline.alignment.config import WITHOUT_INFLUENCE
from offline.alignment.experience import Source
from offline.alignment.inputs import AlignmentInputs
from offline.alignment.learner import AlignmentLearner
from offline.alignment.models import Models, open_models
from offline.alignment.report import write_report
from offline.alignment.resets import save_recommenders, weights_of
from offline.alignment.samplers import OnlineSampler, PoolSampler
from offline.alignment.sources import SamplerSource
from offline.alignment.watch import Watch, read_figures, watched_items
from offline.fingerprint import fingerprint_of
from offline.instruction.adapters import save_adapter

WEIGHTS, ENCODER, REPORT = "weights", "encoder", "report.json"
RECOMMENDERS = "recommenders.safetensors"
WORK, INPUTS = "work", "inputs"
"""Folder of what only a run that goes on needs: checkpoint, recommenders, pool, queue; and in it
that of what another process starts from."""

OpenSource = Callable[[Models, AlignmentLearner], Source]


def align(
    inputs: AlignmentInputs, folder: Path, cache: Path, open_source: OpenSource
) -> dict[str, Any]:
    """Align the LLM with the recommender; a killed run goes on at its last checkpoint.

    Args:
        inputs: items, sequences and settings.
        folder: gets `weights/` (the adapter, or the whole LLM), `encoder/` if the text encoder was
            trained, `recommenders.safetensors` (before and after), `report.json`,
            `figures.jsonl`, `events/`, and `work/` to go on with.
        cache: folder of downloads.
        open_source: opens what gives the experiences.

    Returns:
        The report.

    Raises:
        ConfigError: a setting or a model can't be used.
        InputError: there is nothing to learn from, or a figure is no longer a number.
    """
    config = inputs.settings.alignment
    inputs.settings.check()
    items = watched_items(inputs.item_ids, config)
    inputs.save(folder / WORK / INPUTS)
    models = open_models(inputs, folder / WORK, cache)
    before = weights_of(models.judge.with_text.network)
    learner = AlignmentLearner(models.policy, models.prompts, models.judge, config)
    watch = Watch(models, items, folder, config)
    outcome = Alignment(
        learner,
        lambda of_learner: open_source(models, of_learner),
        watch,
        folder / WORK,
        _fingerprint(inputs),
        config,
    ).run()
    _save_weights(models, folder)
    after = weights_of(models.judge.with_text.network)
    save_recommenders(before, after, folder / RECOMMENDERS)
    n_tuned = models.policy.weights.n_parameters
    report = write_report(config, outcome, watch.looks, read_figures(folder), n_tuned)
    write_atomically(folder / REPORT, json.dumps(report, ensure_ascii=False, indent=1).encode())
    return report


def synchronous(models: Models, learner: AlignmentLearner) -> Source:  # noqa: ARG001
    """Texts of the LLM as it is, at every step."""
    config = models.inputs.settings.alignment
    sampler = OnlineSampler(models.policy, models.prompts, models.judge, models.examples, config)
    return SamplerSource(sampler, config.seed)


def pooled(models: Models, learner: AlignmentLearner) -> Source:  # noqa: ARG001
    """Texts of the pool, at every step anew.

    Raises:
        ConfigError: no item of the pool is the newest of any history.
    """
    config = models.inputs.settings.alignment
    if models.pool is None:
        raise ValueError(f"mode {config.mode!r} has no pool")
    n_items = len(models.inputs.item_texts)
    sampler = PoolSampler(models.pool, models.judge, models.examples, n_items, config)
    return SamplerSource(sampler, config.seed)


def _save_weights(models: Models, folder: Path) -> None:
    settings = models.inputs.settings
    weights = folder / WEIGHTS
    if models.policy.adapted is not None:
        save_adapter(models.policy.adapted, settings.knowledge.model, weights)
    else:
        models.policy.model.save_pretrained(weights)
        models.tokenizer.save_pretrained(weights)
    if not settings.alignment.freeze_encoder:
        models.judge.vectors.encoder.save(folder / ENCODER)


def _fingerprint(inputs: AlignmentInputs) -> str:
    settings = inputs.settings.model_dump(mode="json", exclude={"alignment": WITHOUT_INFLUENCE})
    parts = [json.dumps(settings, sort_keys=True), inputs.item_texts, inputs.knowledge]
    return fingerprint_of(*parts, *inputs.sequences)
