"""Arrays that a reranker's graph reads, made from the tokens of prompts.

A prompt is a tree: a beginning, and one or more ends that go on from it. Each end attends to the
beginning and to itself, as if it followed alone, so that the beginning is computed once however
many candidates share it. A prompt without branches is one end behind an empty beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
PADDING = 0  # any token would do: nothing attends to it


@dataclass(frozen=True)
class TokenTree:
    """Tokens of one prompt. Each end has a token or more: the answer is read at its last."""

    beginning: Sequence[int]
    ends: Sequence[Sequence[int]]

    @property
    def n_tokens(self) -> int:
        """The prompt's length L without padding."""
        return len(self.beginning) + sum(map(len, self.ends))

    def __post_init__(self) -> None:
        if not self.ends or not all(map(len, self.ends)):
            raise ValueError("a prompt needs one end or more, each with a token or more")


@dataclass(frozen=True)
class LabelInputs:
    """Inputs of a graph for B prompts, padded on the right to the longest of them.

    Attributes:
        tokens: int64 [B, L].
        positions: int64 [B, L]; those of an end go on from the beginning.
        mask: bool [B, L, L], true where the row's token attends to the column's.
        read_at: int64 [B, M], place of each end's last token; 0 behind a prompt's last end.
    """

    tokens: Tokens
    positions: Tokens
    mask: Mask
    read_at: Tokens

    def feeds(self) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.bool_]]:
        """The arrays by the names of the graph's inputs."""
        return {
            "tokens": self.tokens,
            "positions": self.positions,
            "mask": self.mask,
            "read_at": self.read_at,
        }


def make_label_inputs(prompts: Sequence[TokenTree]) -> LabelInputs:
    """Lay one prompt or more out as a batch.

    Padding attends to itself alone, so that no row of the mask is empty.
    """
    longest = max(prompt.n_tokens for prompt in prompts)
    n_ends = max(len(prompt.ends) for prompt in prompts)
    shape = (len(prompts), longest)
    inputs = LabelInputs(
        tokens=np.full(shape, PADDING, dtype=np.int64),
        positions=np.zeros(shape, dtype=np.int64),
        mask=np.zeros((*shape, longest), dtype=np.bool_),
        read_at=np.zeros((len(prompts), n_ends), dtype=np.int64),
    )
    inputs.mask[:] = np.eye(longest, dtype=np.bool_)
    for number, prompt in enumerate(prompts):
        _lay_out(inputs, number, prompt)
    return inputs


def _lay_out(inputs: LabelInputs, number: int, prompt: TokenTree) -> None:
    """Fill row `number` of each array."""
    n_shared = len(prompt.beginning)
    tokens, positions, mask = inputs.tokens[number], inputs.positions[number], inputs.mask[number]
    tokens[:n_shared] = prompt.beginning
    positions[:n_shared] = np.arange(n_shared)
    mask[:n_shared, :n_shared] = _causal(n_shared)
    start = n_shared
    for place, end in enumerate(prompt.ends):
        own = slice(start, start + len(end))
        tokens[own] = end
        positions[own] = np.arange(n_shared, n_shared + len(end))
        mask[own, :n_shared] = True
        mask[own, own] = _causal(len(end))
        start = own.stop
        inputs.read_at[number, place] = start - 1


def _causal(length: int) -> Mask:
    return np.tri(length, dtype=np.bool_)
