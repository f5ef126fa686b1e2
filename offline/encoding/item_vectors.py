"""The knowledge vectors of a catalogue: the texts of items, and their encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from offline.encoding.config import EncodedText, EncodingConfig
from offline.encoding.sentence_encoder import Vectors


class Encoder(Protocol):
    """Texts to vectors of length 1."""

    def encode(self, texts: Sequence[str], batch_size: int = 64, label: str = "") -> Vectors:
        """Vectors float32 [n, K]; `label` names the progress that is shown."""
        ...


_SHUFFLING_SEED = 0


def text_to_encode(item_text: str, knowledge: str, which: EncodedText) -> str:
    """The text that stands for an item; an item without knowledge falls back to its own text."""
    if which == "item" or not knowledge:
        return item_text
    return knowledge if which == "knowledge" else f"{item_text}\n{knowledge}"


def texts_to_encode(
    item_texts: Sequence[str], knowledge: Sequence[str], which: EncodedText
) -> list[str]:
    """The texts that stand for items; `knowledge` is aligned, "" where there is none."""
    return [
        text_to_encode(item, known, which)
        for item, known in zip(item_texts, knowledge, strict=True)
    ]


def encode_items(
    item_texts: Sequence[str],
    knowledge: Sequence[str],
    config: EncodingConfig,
    encoder: Encoder,
) -> Vectors:
    """Knowledge vectors float32 [N, K], rows of length 1, aligned with `item_texts`.

    Equal texts are encoded once. `knowledge` is aligned with `item_texts`, "" where there is none.
    Where `config.shuffled`, they are shuffled between the items.
    """
    texts = texts_to_encode(item_texts, knowledge, config.text)
    distinct = list(dict.fromkeys(texts))
    row = {text: i for i, text in enumerate(distinct)}
    vectors = encoder.encode(distinct, config.batch_size, label="encoding items")
    rows = vectors[[row[text] for text in texts]]
    return shuffle_items(rows) if config.shuffled else rows


def shuffle_items(vectors: Vectors) -> Vectors:
    """The same rows float32 [N, K] in a random order, always the same for one N.

    Their distribution is kept, so a model loses exactly the information of the texts.
    """
    return vectors[np.random.default_rng(_SHUFFLING_SEED).permutation(len(vectors))]
