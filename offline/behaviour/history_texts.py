"""A history as a text: its items' texts, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.errors import ConfigError

SEPARATOR = "\n"


class HistoryTexts:
    """The texts of a catalogue's items, each cut to a number of tokens.

    Attributes:
        item_lengths: tokens of each item's text, special ones left out, int64 [N+1]; 0 at padding.
    """

    def __init__(self, item_texts: Sequence[str], tokenizer: Any, item_tokens: int) -> None:
        """`item_texts` are those of item_index 1..N.

        Raises:
            ConfigError: the tokenizer doesn't give the characters of a token.
        """
        if not tokenizer.is_fast:
            raise ConfigError(
                f"encoder {tokenizer.name_or_path!r}: its tokenizer is not one of the fast kind, "
                "which tuning on behaviour needs"
            )
        encoded = tokenizer(
            list(item_texts),
            add_special_tokens=False,
            truncation=True,
            max_length=item_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        ends = [spans[-1][1] if spans else 0 for spans in encoded["offset_mapping"]]
        self._texts = ["", *(text[:end] for text, end in zip(item_texts, ends, strict=True))]
        self.item_lengths = np.array([0, *map(len, encoded["input_ids"])], dtype=np.int64)

    def __len__(self) -> int:
        """Number of items N."""
        return len(self._texts) - 1

    def of(self, histories: npt.NDArray[np.int32]) -> list[str]:
        """Texts of histories [B, H], newest first, 0 where one is shorter."""
        return [
            SEPARATOR.join(self._texts[item] for item in history if item) for history in histories
        ]

    def lengths(self, histories: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Approximate number of tokens of the texts of histories [B, H], int64 [B]."""
        lengths: npt.NDArray[np.int64] = self.item_lengths[histories].sum(axis=1)
        return lengths
