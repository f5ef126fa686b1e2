"""The trainer's task of tuning a language model: labels and ratings at the answer's place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.rerank_prompt import LABELS
from offline.instruction.adapters import TunedWeights
from offline.instruction.config import InstructionTuningConfig
from offline.instruction.examples import Ranking
from offline.instruction.instructions import Example, Instruction, Instructor
from offline.instruction.label_model import LabelModel, expected_ratings
from offline.instruction.token_clock import TokenClock
from offline.metrics import ndcg_at_k
from offline.training.batches import batches_by_length


@dataclass(frozen=True)
class Figures:
    """Figures of held-out examples.

    Attributes:
        loss: mean cross-entropy over the choices, of both kinds of examples.
        ndcg: NDCG@10 of the targets among the candidates; None without list-wise examples.
        r2: R² of the expected ratings; None without point-wise examples of different ratings.
    """

    loss: float
    ndcg: float | None
    r2: float | None = None


class LabelTuning:
    """The trainer's task.

    Args:
        model: scores labels.
        tuned: the weights that are tuned.
        instructor: examples to tokens.
        trained: examples to learn from.
        held_out: examples to choose the epoch by.
        config: settings.
    """

    def __init__(
        self,
        model: LabelModel,
        tuned: TunedWeights,
        instructor: Instructor,
        trained: Sequence[Example],
        held_out: Sequence[Example],
        config: InstructionTuningConfig,
    ) -> None:
        self.module = tuned
        self._model, self._instructor, self._config = model, instructor, config
        self._trained, self._held_out = trained, held_out
        self._known: Figures | None = None  # of the weights as they are
        self._clock = TokenClock()

    def begin(self, phase: str) -> None:
        """The adapter, or the model, says which parameters have gradients."""

    def batches(self, rng: np.random.Generator) -> list[list[Instruction]]:
        """An epoch's batches; the order in which candidates are shown is drawn anew."""
        instructions = self._instructor.write(self._trained, rng)
        lengths = np.array([len(each.prompt) for each in instructions], dtype=np.int64)
        self._model.check_lengths(lengths.tolist())
        return [
            [instructions[row] for row in rows]
            for rows in batches_by_length(lengths, self._config.batch_size, rng)
        ]

    def loss(self, batch: Sequence[Instruction], rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """Cross-entropy at the answer's place; over the vocabulary, on the answer's tokens."""
        self._known = None
        self._clock.begin(sum(len(each.prompt) for each in batch))
        with self._precision():
            if self._config.loss == "vocabulary":
                return self._loss_of_texts(batch)
            return self._losses_of_choices(batch).mean()

    def validate(self) -> float | None:
        """NDCG@10 of held-out targets among their candidates, where there are some, else R² of
        held-out ratings; None without held-out examples.
        """
        if not self._held_out:
            return None
        figures = self._known or self.measure()
        return figures.r2 if figures.ndcg is None else figures.ndcg

    @torch.inference_mode()
    def measure(self) -> Figures:
        """Figures of the held-out examples."""
        self._clock.pause()
        instructions = self._instructor.write(self._held_out, None)
        losses, ranks, expected, ratings = [], [], list[float](), list[int]()
        for start in range(0, len(instructions), self._config.batch_size):
            rows = slice(start, start + self._config.batch_size)
            logits, answers = self._choices(instructions[rows])
            losses += F.cross_entropy(logits, answers, reduction="none").tolist()
            places = (logits >= logits.gather(1, answers[:, None])).sum(1).tolist()
            means = expected_ratings(logits[:, len(LABELS) :]).tolist()
            for place, mean, example in zip(places, means, self._held_out[rows], strict=True):
                if isinstance(example, Ranking):
                    ranks.append(place)
                else:
                    expected.append(mean)
                    ratings.append(example.rating)
        ndcg = ndcg_at_k(np.array(ranks, dtype=np.int64)) if ranks else None
        self._known = Figures(float(np.mean(losses)), ndcg, r2_of(expected, ratings))
        return self._known

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens of prompts in a second of training; None before the first step has ended."""
        return self._clock.tokens_per_s

    def pace(self) -> str:
        """For the progress."""
        return "" if self.tokens_per_s is None else f"{self.tokens_per_s:.0f} tokens/s"

    def _losses_of_choices(self, batch: Sequence[Instruction]) -> Tensor:
        logits, answers = self._choices(batch)
        return F.cross_entropy(logits, answers, reduction="none")

    def _choices(self, batch: Sequence[Instruction]) -> tuple[Tensor, Tensor]:
        """Logits [B, R], -inf where a row is no choice, and the right rows [B]."""
        with self._model.label_head():
            logits = self._model.answer_logits([each.prompt for each in batch])
        rows = torch.arange(logits.shape[1], device=logits.device)
        first, end = torch.tensor([each.choices for each in batch], device=logits.device).T
        is_choice = (rows >= first[:, None]) & (rows < end[:, None])
        answers = torch.tensor([each.answer for each in batch], device=logits.device)
        return logits.masked_fill(~is_choice, -torch.inf), answers

    def _loss_of_texts(self, batch: Sequence[Instruction]) -> Tensor:
        places = [
            range(len(each.prompt) - 1, len(each.prompt) + len(each.text) - 1) for each in batch
        ]
        logits = self._model.logits_at([[*each.prompt, *each.text] for each in batch], places)
        answers = [token for each in batch for token in each.text]
        return F.cross_entropy(logits, torch.tensor(answers, device=logits.device))

    def _precision(self) -> Any:
        """Float32 weights are multiplied in bfloat16 on CUDA, and where it is asked for."""
        model, device = self._model.model, self._model.model.device.type
        is_wanted = device == "cuda" or self._config.precision == "bfloat16"
        if not is_wanted or model.dtype != torch.float32:
            return nullcontext()
        return torch.autocast(device, torch.bfloat16)


def r2_of(expected: Sequence[float], ratings: Sequence[int]) -> float | None:
    """Share of the ratings' variance that is explained; None where there is no variance."""
    values = np.array(ratings, dtype=np.float64)
    if not len(values) or not values.var():
        return None
    return float(1 - np.mean((np.array(expected) - values) ** 2) / values.var())
