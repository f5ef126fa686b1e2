"""Texts to knowledge vectors while the text encoder is trained, or is frozen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from offline.encoding.sentence_encoder import SentenceEncoder, Vectors


class TextVectors:
    """A sentence encoder over sampled texts.

    Args:
        encoder: loaded.
        frozen: it stays as it is; each different text is then encoded once.
        batch_size: texts at a time.
    """

    def __init__(self, encoder: SentenceEncoder, *, frozen: bool, batch_size: int) -> None:
        self.encoder, self.frozen, self._batch_size = encoder, frozen, batch_size
        encoder.pooled.requires_grad_(not frozen)
        pooler = getattr(encoder.pooled.model, "pooler", None)
        if isinstance(pooler, torch.nn.Module):  # mean pooling doesn't use it
            pooler.requires_grad_(False)
        self._kept: dict[str, Tensor] = {}

    def of(self, texts: Sequence[str]) -> Tensor:
        """Vectors float32 [n, K] of length 1; with gradients if the encoder is trained."""
        if not self.frozen:
            return torch.cat(
                [
                    self._encode(texts[start : start + self._batch_size])
                    for start in range(0, len(texts), self._batch_size)
                ]
            )
        missing = sorted({text for text in texts if text not in self._kept}, key=len)
        with torch.no_grad():
            for start in range(0, len(missing), self._batch_size):
                batch = missing[start : start + self._batch_size]
                self._kept.update(zip(batch, self._encode(batch), strict=True))
        return torch.stack([self._kept[text] for text in texts])

    def keep(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Vectors of texts that were encoded earlier by the same frozen encoder."""
        if not self.frozen:
            raise ValueError("vectors of an encoder that is trained can't be kept")
        rows = torch.from_numpy(vectors).to(self.encoder.device)
        self._kept.update(zip(texts, rows, strict=True))

    def _encode(self, texts: Sequence[str]) -> Tensor:
        encoder = self.encoder
        encoded = encoder.tokenizer(
            [*texts],
            padding=True,
            truncation=True,
            max_length=encoder.max_tokens,
            return_tensors="pt",
        ).to(encoder.device)
        vectors: Tensor = encoder.pooled(encoded["input_ids"], encoded["attention_mask"]).float()
        return vectors
