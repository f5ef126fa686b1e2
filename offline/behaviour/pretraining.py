"""PT: an encoder learns behaviour from other data sets (Rethinking PLM 3.1).

Two losses: a history's vector approaches the next item's and leaves the other next items of the
batch (item-item contrastive), and hidden words of the histories are predicted (MLM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.behaviour.config import PretrainingConfig
from offline.behaviour.history_encoder import HistoryEncoder
from offline.behaviour.masking import TokenMask, WordHead
from offline.behaviour.samples import draw_samples
from offline.data.split import Split
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.training.batches import batches_by_length


@dataclass(frozen=True)
class Domain:
    """One data set to learn from: the texts of item_index 1..N, and its split."""

    item_texts: Sequence[str]
    split: Split


@dataclass(frozen=True)
class Pairs:
    """A batch of one domain: histories int32 [B, H], newest first, and next items int32 [B]."""

    domain: int
    histories: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]


class PretrainedParts(torch.nn.Module):
    """The encoder and the head for words, which is removed in the end."""

    def __init__(self, pooled: torch.nn.Module, head: WordHead) -> None:
        super().__init__()
        self.pooled, self.head = pooled, head


class Pretraining:
    """The task of PT, on one domain or several; a batch is of one domain.

    Raises:
        ConfigError: the encoder hasn't the layers, or no mask token.
    """

    def __init__(
        self, encoder: SentenceEncoder, domains: Sequence[Domain], config: PretrainingConfig
    ) -> None:
        self._domains, self._config = domains, config
        self._encoders = [HistoryEncoder(encoder, d.item_texts, config) for d in domains]
        for domain_encoder in self._encoders:
            domain_encoder.hold_lower_states()
        self._model = cast(Any, encoder.pooled.model)
        self._mask = TokenMask(encoder.tokenizer, config.mlm_share) if config.mlm_weight else None
        self._words: torch.nn.Embedding = self._model.get_input_embeddings()
        head = WordHead(self._words).to(encoder.device)
        head.requires_grad_(bool(config.mlm_weight))
        self.module = PretrainedParts(encoder.pooled, head)

    def begin(self, phase: str) -> None:
        """The encoder's configuration says which layers have gradients, from the beginning."""

    def batches(self, rng: np.random.Generator) -> Sequence[Pairs]:
        """Pairs of all domains in random order: one target for each distinct history."""
        batches = [
            pairs for number in range(len(self._domains)) for pairs in self._pairs_of(number, rng)
        ]
        return [batches[position] for position in rng.permutation(len(batches))]

    def _pairs_of(self, number: int, rng: np.random.Generator) -> list[Pairs]:
        config = self._config
        samples = draw_samples(
            self._domains[number].split, config.history_items, config.samples_per_user, rng
        )
        counts = np.diff(samples.offsets)
        targets = samples.targets[samples.offsets[:-1] + rng.integers(counts)]
        lengths = self._encoders[number].texts.lengths(samples.histories)
        return [
            Pairs(number, samples.histories[rows], targets[rows])
            for rows in batches_by_length(lengths, config.batch_size, rng)
        ]

    def loss(self, batch: Pairs, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """The contrastive loss plus the weighted one of hidden words."""
        encoder = self._encoders[batch.domain]
        distinct, column = np.unique(batch.targets, return_inverse=True)
        users, items = encoder(batch.histories), encoder(distinct[:, None])
        logits = users @ items.T / self._config.temperature
        # Items of the history are no candidates for the next item.
        seen = (batch.histories[:, :, None] == distinct).any(axis=1)
        logits = logits.masked_fill(torch.from_numpy(seen).to(logits.device), -torch.inf)
        wanted = torch.from_numpy(column).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        if self._mask is None:
            return loss
        return loss + self._config.mlm_weight * self._word_loss(encoder, batch.histories)

    def _word_loss(self, encoder: HistoryEncoder, histories: npt.NDArray[np.int32]) -> Tensor:
        if self._mask is None:
            raise RuntimeError("there is no mask")
        ids, mask = encoder.tokens(histories)
        hidden, chosen = self._mask.hide(ids)
        states = self._model(input_ids=hidden, attention_mask=mask).last_hidden_state
        return self.module.head.loss(states[chosen], self._words.weight, ids[chosen])

    def validate(self) -> None:
        """None: all epochs are run and the last one is kept, since the target domain is another."""
