"""Instruction tuning of a language model (Llama4Rec 4.5.2, equation 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_store.errors import InputError
from model_store.rerank_prompt import PromptLayout
from offline.fingerprint import fingerprint_of
from offline.instruction.adapters import TunedWeights
from offline.instruction.config import InstructionTuningConfig
from offline.instruction.examples import Examples
from offline.instruction.instructions import Example, Instructor
from offline.instruction.label_model import LabelModel
from offline.instruction.label_tuning import Figures, LabelTuning
from offline.training.learning_rate import warmed_rate
from offline.training.record import TrainingRecord
from offline.training.trainer import Phase, Plan, Trainer

_CHECKPOINT = "tuning.safetensors"


@dataclass(frozen=True)
class Tuned:
    """The result of a tuning; the model itself holds the tuned weights.

    Attributes:
        before, after: figures of held-out examples; None if none are held out.
        record: of the epochs.
        n_parameters: numbers that were tuned.
        n_examples: examples that were trained on.
        tokens_per_s: of training, in this run; None where a resumed one had nothing left to do.
    """

    before: Figures | None
    after: Figures | None
    record: TrainingRecord
    n_parameters: int
    n_examples: int
    tokens_per_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def tune(
    model: LabelModel,
    tuned: TunedWeights,
    examples: Examples,
    layout: PromptLayout,
    titles: Sequence[str],
    config: InstructionTuningConfig,
    folder: Path | None = None,
) -> Tuned:
    """Tune the weights of a model that have gradients.

    Args:
        model: with an adapter, or to be tuned in full.
        tuned: the weights that are tuned.
        examples: to learn from.
        layout: of their prompts.
        titles: of all items, row i that of item_index i + 1.
        config: settings.
        folder: gets a checkpoint, to resume from; None: none.

    Raises:
        InputError: there are no examples, or the loss is no longer a number.
    """
    trained, held_out = split_by_user(examples, config.held_out_share, config.seed)
    if not trained:
        raise InputError(
            "there are no examples to tune a language model with; see the examples' report"
        )
    instructor = Instructor(model.encoder, layout, titles, config.part_dropout)
    task = LabelTuning(model, tuned, instructor, trained, held_out, config)
    before = task.measure() if held_out else None
    record = Trainer(
        f"tuning {model.name}",
        task,
        plan_tuning(config, "NDCG@10" if examples.rankings else "R²"),
        None if folder is None else folder / _CHECKPOINT,
        fingerprint_of(config, layout, [*titles], trained, held_out),
        task.pace,
    ).run()
    model.model.eval()
    after = task.measure() if held_out else None
    return Tuned(before, after, record, tuned.n_parameters, len(trained), task.tokens_per_s)


def plan_tuning(config: InstructionTuningConfig, figure: str = "NDCG@10") -> Plan:
    """A plan of one phase, in which the model as it was may win too; `figure` chooses the epoch."""
    return Plan(
        phases=(Phase("tuning", config.epochs),),
        patience=config.epochs,
        seed=config.seed,
        learning_rate=config.learning_rate,
        schedule=partial(_rate_at, config=config),
        weight_decay=config.weight_decay,
        validate_start=config.held_out_share > 0,
        save_every_s=config.save_every_s,
        figure=figure,
    )


def _rate_at(epoch: int, step: int, n_steps: int, *, config: InstructionTuningConfig) -> float:
    return warmed_rate(
        epoch * n_steps + step,
        config.epochs * n_steps,
        config.learning_rate,
        config.warm_up_steps,
        cosine=True,
    )


def split_by_user(
    examples: Examples, share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and those of some users, drawn by the seed, which are held out."""
    everything: list[Example] = [*examples.rankings, *examples.ratings]
    users = np.unique([example.question.user for example in everything])
    drawn = np.random.default_rng([seed, 0]).permutation(users)[: int(share * len(users))]
    is_held_out = set(drawn.tolist())
    return (
        [example for example in everything if example.question.user not in is_held_out],
        [example for example in everything if example.question.user in is_held_out],
    )
