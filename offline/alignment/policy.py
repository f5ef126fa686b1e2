"""The LLM that is aligned: samples texts, and gives their log p with gradients.

The prompt of an item is run once for all of the item's texts: their keys and values are shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.errors import ConfigError
from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Float32, Int32
from offline.instruction.adapters import TunedWeights, add_adapter
from offline.knowledge.causal_model import load_causal_model
from offline.training.seeds import seeded

Prompt = Sequence[int]
"""Tokens of the LLM's input."""


@dataclass(frozen=True)
class Written:
    """A sampled answer: its tokens int32 [T], and the log p of each, float32 [T]."""

    tokens: Int32
    log_p: Float32


class Policy:
    """A causal language model of which some weights are tuned.

    Attributes:
        model: the model of transformers, with its adapter if it has one.
        weights: those that are tuned.
        adapted: peft's model around it; None where all weights are tuned.

    Args:
        model: on its device.
        adapted: as above.
        ends: tokens that end an answer.
    """

    def __init__(self, model: Any, adapted: Any | None, ends: Sequence[int]) -> None:
        self.model, self.adapted = model.eval(), adapted
        self.weights = TunedWeights(model)
        self._ends = frozenset(ends)
        self._before = copy.deepcopy(model).requires_grad_(False) if adapted is None else None

    @contextmanager
    def original(self) -> Iterator[None]:
        """Within the context the LLM is the one before alignment; it has no gradients."""
        with torch.no_grad():
            if self.adapted is not None:
                with self.adapted.disable_adapter():
                    yield
                return
            tuned, self.model = self.model, self._before
            try:
                yield
            finally:
                self.model = tuned

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Prompt], max_new_tokens: int, generator: torch.Generator
    ) -> list[Written]:
        """An answer to each prompt, at temperature 1: p(s|x) itself, nothing cut off or penalised.

        Args:
            prompts: tokens of each; of equal ones, one behind the other, each gets its own answer.
            max_new_tokens: length of an answer, its end token included.
            generator: on the model's device.
        """
        cache, logits, present = self._read(prompts)
        answers: list[list[tuple[int, float]]] = [[] for _ in prompts]
        rows = [*range(len(prompts))]
        while True:
            log_p = _precise(logits).log_softmax(dim=-1)
            drawn = torch.multinomial(log_p.exp(), 1, generator=generator)
            of_drawn = log_p.gather(1, drawn).squeeze(1).tolist()
            for row, token, value in zip(rows, drawn.squeeze(1).tolist(), of_drawn, strict=True):
                answers[row].append((token, value))
            going = [i for i, row in enumerate(rows) if answers[row][-1][0] not in self._ends]
            if not going or len(answers[rows[0]]) == max_new_tokens:
                break
            if len(going) < len(rows):  # an answer that ended leaves the batch
                kept = torch.tensor(going, device=drawn.device)
                cache.batch_select_indices(kept)
                drawn, present = drawn[kept], present[kept]
                rows = [rows[i] for i in going]
            present = F.pad(present, (0, 1), value=1)
            logits = self._forward(drawn, cache, present)[:, -1]
        return [
            Written(
                np.array([token for token, _ in answer], dtype=np.int32),
                np.array([value for _, value in answer], dtype=np.float32),
            )
            for answer in answers
        ]

    def log_p(self, prompts: Sequence[Prompt], answers: Sequence[Int32]) -> list[Tensor]:
        """log p of each token of each answer to its prompt, float32 [T], with gradients."""
        cache, first, present = self._read(prompts)
        longest = max(len(answer) for answer in answers)
        block = torch.zeros(len(answers), longest, dtype=torch.long)
        for row, answer in zip(block, answers, strict=True):
            row[: len(answer)] = torch.from_numpy(answer)
        block = block.to(first.device)
        logits = first.unsqueeze(1)
        if longest > 1:
            present = F.pad(present, (0, longest - 1), value=1)
            # What is behind an answer's end is not seen from before it: it needs no mask.
            logits = torch.cat([logits, self._forward(block[:, :-1], cache, present)], dim=1)
        flat = F.cross_entropy(_precise(logits).flatten(0, 1), block.flatten(), reduction="none")
        return [
            -row[: len(answer)] for row, answer in zip(flat.view_as(block), answers, strict=True)
        ]

    def _read(self, prompts: Sequence[Prompt]) -> tuple[Any, Tensor, Tensor]:
        """Run the different prompts once.

        Returns:
            keys and values of each prompt; logits of what follows it, [B, vocabulary]; where its
            tokens are, int64 [B, L].
        """
        distinct = list(dict.fromkeys(map(tuple, prompts)))
        length = max(map(len, distinct))
        block = torch.zeros(len(distinct), length, dtype=torch.long)
        present = torch.zeros_like(block)
        for row, is_in, prompt in zip(block, present, distinct, strict=True):
            row[length - len(prompt) :] = torch.tensor(prompt)
            is_in[length - len(prompt) :] = 1
        block, present = block.to(self.model.device), present.to(self.model.device)
        output = self.model(
            block,
            attention_mask=present,
            position_ids=_positions(present),
            use_cache=True,
            logits_to_keep=1,
        )
        row_of = {prompt: row for row, prompt in enumerate(distinct)}
        rows = torch.tensor([row_of[tuple(prompt)] for prompt in prompts], device=block.device)
        output.past_key_values.batch_select_indices(rows)
        return output.past_key_values, output.logits[rows, -1], present[rows]

    def _forward(self, tokens: Tensor, cache: Any, present: Tensor) -> Tensor:
        """Logits [B, T, vocabulary] of tokens [B, T] behind what is in the cache."""
        logits: Tensor = self.model(
            tokens,
            attention_mask=present,
            position_ids=_positions(present)[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits


def open_policy(name: str, config: AlignmentConfig, cache: Path) -> tuple[Policy, Any]:
    """Load a language model to be aligned; it is given with its tokenizer.

    Args:
        name: short name, Hugging Face id, folder or .gguf file.
        config: method and device.
        cache: folder of downloads.

    Raises:
        ConfigError: it can't be read, has no layers of the adapter's names, or the device isn't
            there.
    """
    is_on_gpu = config.device != "cpu" and torch.cuda.is_available()
    if config.device == "cuda" and not is_on_gpu:
        raise ConfigError("alignment.device = 'cuda': this machine has no CUDA device")
    # Named by its number, the first GPU is the only one: a second is for the generator.
    device = "cuda:0" if is_on_gpu else config.device
    # Small steps are lost in the rounding of bfloat16; an adapter's weights are float32 anyway.
    precise = config.method == "full" or not is_on_gpu
    dtype = torch.float32 if precise else torch.bfloat16
    model, tokenizer = load_causal_model(name, cache, device, dtype)
    adapted = None
    if config.method == "lora":
        with seeded(config.seed):
            adapted = add_adapter(model, name, config)
        model = adapted.get_base_model()
    return Policy(model, adapted, end_tokens(model, tokenizer)), tokenizer


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    found = {tokenizer.eos_token_id, tokenizer.pad_token_id, *listed} - {None}
    return sorted(found)


def _positions(present: Tensor) -> Tensor:
    """Positions of tokens behind padding on the left, int64 [B, L]."""
    positions: Tensor = (present.cumsum(1) - 1).clamp(min=0)
    return positions


def _precise(logits: Tensor) -> Tensor:
    """In float32 or better: log p of rare tokens is lost in bfloat16."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
