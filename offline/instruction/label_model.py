"""A causal language model in this process that scores labels, through torch.

The last layer has rows for a whole vocabulary. An answer needs those of the labels and ratings
alone, at the place where it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.errors import InputError
from model_store.rerank_prompt import RATINGS
from offline.instruction.label_scorer import Float32
from offline.instruction.prompt_encoder import PromptEncoder
from offline.knowledge.causal_model import load_causal_model

_MAX_BATCH_TOKENS = 4_096


class LabelHead(torch.nn.Module):
    """The rows of some tokens of a last layer, which stays whole and shares its weights.

    Args:
        whole: the model's own last layer.
        tokens: whose rows are computed, R of them.
    """

    _tokens: Tensor

    def __init__(self, whole: torch.nn.Linear, tokens: Sequence[int]) -> None:
        super().__init__()
        self.whole = whole
        self.register_buffer(
            "_tokens", torch.tensor(tokens, device=whole.weight.device), persistent=False
        )

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., R] of hidden states [..., D]."""
        bias = self.whole.bias
        return F.linear(
            states, self.whole.weight[self._tokens], None if bias is None else bias[self._tokens]
        )


class LabelModel:
    """A LabelScorer; batches hold prompts of nearly one length.

    Args:
        name: it was opened by.
        model: a causal language model of transformers.
        tokenizer: its tokenizer.

    Raises:
        ConfigError: the tokenizer has no single token for a label or rating.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self.model = name, model.eval()
        self.encoder = PromptEncoder(name, tokenizer)
        self._n_labels = len(self.encoder.label_tokens)

    @property
    def max_tokens(self) -> int:
        """The longest prompt, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", 2**31 - 1))

    @contextmanager
    def label_head(self) -> Iterator[None]:
        """Within the context the model's last layer has the rows of the answers alone."""
        whole = self.model.get_output_embeddings()
        self.model.set_output_embeddings(LabelHead(whole, self.encoder.answer_tokens))
        try:
            yield
        finally:
            self.model.set_output_embeddings(whole)

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        """See `LabelScorer.scores`. Raises InputError if a prompt is too long for the model."""
        encoded = self.encoder.encode(prompts)
        self.check_lengths([len(tokens) for tokens in encoded])
        scores: list[Float32] = [np.empty(0, np.float32)] * len(prompts)
        with torch.inference_mode(), self.label_head():
            for rows in _batches([len(tokens) for tokens in encoded]):
                logits = self.answer_logits([encoded[row] for row in rows]).cpu()
                for row, of_row in zip(rows, logits, strict=True):
                    scores[row] = of_row[: n_labels[row]].log_softmax(-1).numpy()
        return scores

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        """See `LabelScorer.ratings`. Raises InputError if a prompt is too long for the model."""
        expected: list[Float32] = []
        with torch.inference_mode(), self.label_head():
            for beginning, of_beginning in zip(self.encoder.encode(beginnings), ends, strict=True):
                logits = self._rating_logits(beginning, self.encoder.encode_ends(of_beginning))
                expected.append(expected_ratings(logits).numpy())
        return expected

    def answer_logits(self, batch: Sequence[Sequence[int]]) -> Tensor:
        """Logits where the answers begin, float32 [B, R] within `label_head`, else [B, vocabulary].

        Args:
            batch: tokens of each prompt, of different lengths.
        """
        return self.logits_at(batch, [[len(tokens) - 1] for tokens in batch])

    def logits_at(self, batch: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> Tensor:
        """Logits at some places of each row, float32 [number of places, R]; row by row.

        Args:
            batch: tokens of each row, of different lengths.
            places: of each row, from 0.
        """
        # Padding is behind all places, so a causal model needs no mask.
        block, _ = _pad(batch)
        flat = torch.tensor([place for of_row in places for place in of_row])
        rows = torch.tensor([row for row, of_row in enumerate(places) for _ in of_row])
        kept = torch.unique(flat)  # on the CPU, as it reads states of the last layer's device
        logits = self.model(
            block.to(self.model.device), use_cache=False, logits_to_keep=kept
        ).logits
        found: Tensor = logits[rows, torch.searchsorted(kept, flat)].float()
        return found

    def _rating_logits(self, beginning: list[int], ends: list[list[int]]) -> Tensor:
        """Logits of the ratings at each end, float32 [number of ends, 5].

        The beginning is computed once, and its keys and values are those of every end.
        """
        self.check_lengths([len(beginning) + len(tokens) for tokens in ends])
        device = self.model.device
        prefix = self.model(
            torch.tensor([beginning], device=device), use_cache=True, logits_to_keep=1
        ).past_key_values
        prefix.batch_repeat_interleave(len(ends))
        block, places = _pad(ends)
        logits = self.model(block.to(device), past_key_values=prefix).logits
        of_ends: Tensor = logits[torch.arange(len(ends)), places, self._n_labels :].float().cpu()
        return of_ends

    def check_lengths(self, lengths: Sequence[int]) -> None:
        """Raise InputError if a prompt of so many tokens is too long for the model."""
        if lengths and max(lengths) > self.max_tokens:
            raise InputError(
                f"a prompt has {max(lengths)} tokens, and {self.name} takes {self.max_tokens}: "
                "use a layout with fewer items or shorter titles"
            )


def expected_ratings(logits: Tensor) -> Tensor:
    """Σ r · p(r) over the ratings 1 to 5, float32 [B] of their logits [B, 5]."""
    values = torch.tensor([float(rating) for rating in RATINGS], device=logits.device)
    return logits.softmax(-1) @ values


def open_label_model(name: str, cache: Path, device: str = "auto") -> LabelModel:
    """Load a model by short name, Hugging Face id, folder or .gguf file.

    Raises:
        ConfigError: it can't be found or read, or has no single token for a label or rating.
    """
    model, tokenizer = load_causal_model(name, cache, device)
    return LabelModel(name, model, tokenizer)


def _pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens padded on the right, int64 [B, L], and the place of each row's last one, int64 [B]."""
    ends = torch.tensor([len(tokens) - 1 for tokens in rows])
    block = torch.zeros(len(rows), int(ends.max()) + 1, dtype=torch.long)
    for padded, tokens in zip(block, rows, strict=True):
        padded[: len(tokens)] = torch.tensor(tokens)
    return block, ends


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in groups of nearly one length; longest first, to run out of memory early."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _MAX_BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
