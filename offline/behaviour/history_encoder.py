"""Histories to vectors, by an encoder that is being tuned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.behaviour.config import TuningConfig
from offline.behaviour.history_texts import HistoryTexts
from offline.behaviour.layers import choose_parameters
from offline.behaviour.lower_layers import LowerStates
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.progress import Progress


class HistoryEncoder(torch.nn.Module):
    """A sentence encoder over a catalogue's histories; an item alone is a history of one.

    Attributes:
        texts: texts of the histories.
        pooled: tokens to a vector of length 1; the module that is tuned.
    """

    def __init__(
        self, encoder: SentenceEncoder, item_texts: Sequence[str], config: TuningConfig
    ) -> None:
        """`item_texts` are those of item_index 1..N.

        Raises:
            ConfigError: the configuration names layers that the encoder hasn't.
        """
        super().__init__()
        self.pooled = encoder.pooled
        self.texts = HistoryTexts(item_texts, encoder.tokenizer, config.item_tokens)
        self._tokenizer = encoder.tokenizer
        self._max_tokens = min(config.max_tokens, encoder.positions)
        self._batch_size = config.batch_size
        model = encoder.pooled.model
        n_frozen = choose_parameters(model, config.layers, config.dropout)
        self._lower = LowerStates(model, n_frozen) if n_frozen else None
        self.eval()

    def forward(self, histories: npt.NDArray[np.int32]) -> Tensor:
        """Vectors float32 [B, K] of length 1 of histories [B, H], newest first."""
        if self._lower is not None and histories.shape[1] == 1:
            return self._from_lower_states(self._lower, histories)
        vectors: Tensor = self.pooled(*self.tokens(histories))
        return vectors

    def _from_lower_states(self, lower: LowerStates, histories: npt.NDArray[np.int32]) -> Tensor:
        items = histories[:, 0]
        vectors: Tensor
        if lower.hold(items):
            mask = lower.mask_of(items).to(self.device)
            with lower.in_place(items):
                # The layers that read tokens are not run.
                vectors = self.pooled(torch.zeros_like(mask), mask)
        else:
            ids, mask = self.tokens(histories)
            with lower.kept(items, mask):
                vectors = self.pooled(ids, mask)
        return vectors

    def tokens(self, histories: npt.NDArray[np.int32]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask int64 [B, T] of histories, on the encoder's device."""
        encoded = self._tokenizer(
            self.texts.of(histories),
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self.device)
        return encoded["input_ids"], encoded["attention_mask"]

    @property
    def device(self) -> torch.device:
        """The encoder's device."""
        return next(self.pooled.parameters()).device

    @torch.no_grad()
    def encode(self, histories: npt.NDArray[np.int32], label: str) -> Tensor:
        """Vectors [S, K] of any number of histories [S, H], without dropout or gradients."""
        was_training = self.training
        self.eval()
        order = np.argsort(-self.texts.lengths(histories), kind="stable")
        vectors: Tensor | None = None
        with Progress(label, len(order), "texts") as progress:
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                batch = self(histories[rows])
                if vectors is None:
                    vectors = batch.new_zeros((len(order), batch.shape[1]))
                vectors[torch.from_numpy(rows).to(batch.device)] = batch
                progress.advance(len(rows))
        self.train(was_training)
        return torch.zeros(0, 0) if vectors is None else vectors

    def hold_lower_states(self) -> None:
        """Compute the states below the tuned layers for all items, always in the same order:
        rounding depends on a batch's padding, and a resumed run has other batches."""
        if self._lower is not None:
            self.encode_items()

    def encode_items(self) -> Tensor:
        """Vectors of all items float32 [N+1, K]; row 0 is zeros."""
        items = np.arange(1, len(self.texts) + 1, dtype=np.int32)
        rows = self.encode(items[:, None], "encoding items")
        return torch.cat([rows.new_zeros((1, rows.shape[1])), rows])
