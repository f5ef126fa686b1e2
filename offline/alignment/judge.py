"""The reward's two sides: log p(y|x, s) of Rec and log p(y|x) of Rec_f (Algorithm 1, line 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.alignment.examples import Example
from offline.alignment.experience import SampledText
from offline.alignment.likelihood import IdLikelihood, TextLikelihood
from offline.alignment.text_vectors import TextVectors

_ROWS = 256  # of a softmax over the catalogue at a time

Texts = tuple[SampledText, ...]


class Judge:
    """Both recommenders and the text encoder between texts and Rec.

    Attributes:
        with_text: Rec.
        without_text: Rec_f.
        vectors: of texts.
    """

    def __init__(
        self, with_text: TextLikelihood, without_text: IdLikelihood, vectors: TextVectors
    ) -> None:
        self.with_text, self.without_text, self.vectors = with_text, without_text, vectors

    def log_with(self, examples: Sequence[Example], texts: Sequence[Texts]) -> Tensor:
        """log p(y|x, s) float32 [B], with gradients unless they are off.

        Args:
            examples: B pairs (x, y).
            texts: s of each, about items of its x.
        """
        distinct = list({text.text: None for of_example in texts for text in of_example})
        vectors = self.vectors.of(distinct)
        row_of = {text: row for row, text in enumerate(distinct)}
        width = max(map(len, texts))
        items = np.zeros((len(texts), width), dtype=np.int64)
        rows = np.zeros_like(items)
        for number, of_example in enumerate(texts):
            for place, text in enumerate(of_example):
                items[number, place], rows[number, place] = text.item, row_of[text.text]
        return self.with_text.log_p(
            [example.history for example in examples],
            np.array([example.target for example in examples], dtype=np.int64),
            items,
            vectors[torch.from_numpy(rows).to(vectors.device)],
        )

    @torch.no_grad()
    def rewards(
        self, examples: Sequence[Example], texts: Sequence[Texts]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """log p(y|x, s) and log p(y|x), float32 [B] each; dropout is off."""
        network = self.with_text.network
        was_training = network.training
        network.eval()
        with_text = np.concatenate(
            [
                self.log_with(examples[start : start + _ROWS], texts[start : start + _ROWS])
                .cpu()
                .numpy()
                for start in range(0, len(examples), _ROWS)
            ]
        )
        network.train(was_training)
        distinct = list({id(example): example for example in examples}.values())
        found = np.concatenate(
            [
                self.without_text.log_p(
                    [example.history for example in distinct[start : start + _ROWS]],
                    np.array([each.target for each in distinct[start : start + _ROWS]], np.int64),
                )
                for start in range(0, len(distinct), _ROWS)
            ]
        )
        of = {id(example): value for example, value in zip(distinct, found, strict=True)}
        without = np.array([of[id(example)] for example in examples], dtype=np.float32)
        return with_text, without
