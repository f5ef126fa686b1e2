"""Masked-language modelling: chooses hidden tokens, and the head that predicts them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model_store.errors import ConfigError

# As in BERT, most hidden tokens become the mask, some another token, and some stay.
MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1


class TokenMask:
    """Hides a share of the tokens of texts.

    Args:
        tokenizer: of the encoder; it must have a mask token.
        share: of the tokens, special ones never.

    Raises:
        ConfigError: the tokenizer has no mask token.
    """

    def __init__(self, tokenizer: Any, share: float) -> None:
        if tokenizer.mask_token_id is None:
            raise ConfigError(
                f"encoder {tokenizer.name_or_path!r}: its tokenizer has no mask token; "
                "pretrain with mlm_weight = 0"
            )
        self._mask_id = int(tokenizer.mask_token_id)
        self._special = torch.tensor(sorted(tokenizer.all_special_ids))
        self._n_tokens, self._share = len(tokenizer), share

    def hide(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids with some of them hidden, and the tokens to predict: both [B, T].

        Draws from torch's CPU generator.
        """
        draw, fate = torch.rand(2, *ids.shape).to(ids.device)
        chosen = (draw < self._share) & ~torch.isin(ids, self._special.to(ids.device))
        others = torch.randint(self._n_tokens, ids.shape).to(ids.device)
        hidden = ids.where(~chosen | (fate >= MASKED_SHARE), torch.full_like(ids, self._mask_id))
        is_other = chosen & (fate >= MASKED_SHARE) & (fate < MASKED_SHARE + RANDOM_SHARE)
        return hidden.where(~is_other, others), chosen


class WordHead(torch.nn.Module):
    """Predicts tokens from states, its last product tied to the encoder's word embeddings.

    The dense layer begins as the identity: a sentence encoder comes without a head of its own.
    """

    def __init__(self, words: torch.nn.Embedding) -> None:
        super().__init__()
        size = words.embedding_dim
        self.dense = torch.nn.Linear(size, size)
        torch.nn.init.eye_(self.dense.weight)
        torch.nn.init.zeros_(self.dense.bias)
        self.norm = torch.nn.LayerNorm(size)
        self.bias = torch.nn.Parameter(torch.zeros(words.num_embeddings))

    def loss(self, states: Tensor, words: Tensor, tokens: Tensor) -> Tensor:
        """Mean cross-entropy; states [n, D], word embeddings [V, D], tokens [n]; 0 if n is 0."""
        if not len(tokens):
            return states.sum() * 0.0
        guesses = self.norm(F.gelu(self.dense(states))) @ words.T + self.bias
        return F.cross_entropy(guesses, tokens)
