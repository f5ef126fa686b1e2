"""The stages of a build's tuning: FT1 and, if configured, FT2 (Rethinking PLM 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError
from offline.behaviour.config import BehaviourConfig
from offline.behaviour.finetuning import NextItem
from offline.behaviour.history_encoder import HistoryEncoder
from offline.behaviour.tuning import plan_tuning
from offline.cache import cache_folder
from offline.data.split import Split
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.training.group import current
from offline.training.record import TrainingRecord
from offline.training.trainer import Trainer

ENCODER_CONFIG = "config.json"


def tune_on_behaviour(
    item_texts: Sequence[str],
    split: Split,
    config: BehaviourConfig,
    encoder: str,
    folder: Path,
) -> dict[str, TrainingRecord]:
    """Tune an encoder on the training part of a data set, each stage into `folder/<stage>`.

    Of a group's processes the first one writes.

    Args:
        item_texts: texts of item_index 1..N.
        split: its validation part chooses each stage's epoch; its test part is not read.
        config: settings, and perhaps the folder to start from.
        encoder: start where the configuration names no folder.
        folder: gets `<stage>/`, each an encoder that transformers reads, and while a stage runs
            its checkpoint.

    Returns:
        Each stage's record.

    Raises:
        ConfigError: the encoder can't be read, or hasn't the layers.
        InputError: no user has two interactions to learn from, or the loss diverged.
    """
    name = start_of(config, encoder)
    records: dict[str, TrainingRecord] = {}
    fixed, group = None, current()
    for stage in config.stages:
        place, checkpoint = folder / stage, folder / f"{stage}.safetensors"
        sentence_encoder = SentenceEncoder(name, cache_folder(), config.device)
        histories = HistoryEncoder(sentence_encoder, item_texts, config)
        if stage == "ft2":
            fixed = histories.encode_items()
        task = NextItem(histories, split, config, fixed)
        label = f"tuning the encoder, {stage}"
        trainer = Trainer(label, task, plan_tuning(config, config.patience), checkpoint)
        records[stage] = trainer.run()
        if group.leads:
            sentence_encoder.save(place)
        group.wait()
        name = str(place)
    for stage in config.stages if group.leads else ():
        (folder / f"{stage}.safetensors").unlink(missing_ok=True)
    return records


def start_of(config: BehaviourConfig, encoder: str) -> str:
    """The name or folder that tuning starts from.

    Raises:
        ConfigError: the configuration names a folder that holds no encoder.
    """
    if not config.start:
        return encoder
    if not (Path(config.start) / ENCODER_CONFIG).is_file():
        raise ConfigError(f"start = {config.start!r}: no encoder there, no {ENCODER_CONFIG}")
    return config.start


def describe(records: dict[str, TrainingRecord]) -> dict[str, Any]:
    """Each stage's best epoch and, if measured, its and the initial validation NDCG@10."""
    facts: dict[str, Any] = {}
    for stage, record in records.items():
        facts[f"{stage}_epoch"] = record.best_epoch
        for name, ndcg in (("", record.best_figure), ("_before", record.epochs[0].figure)):
            if ndcg is not None:
                facts[f"{stage}_ndcg_at_10{name}"] = round(ndcg, 4)
    return facts
