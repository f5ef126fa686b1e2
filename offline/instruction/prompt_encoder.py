"""Prompts as tokens, and the single tokens that answer them.

A model ranks in one forward pass only if each answer is one token. Labels stand behind a blank,
which most vocabularies join to the letter. Ratings stand right behind the colon: many vocabularies
(Llama's, Gemma's, SmolLM2's) split digits from everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_store.errors import ConfigError
from model_store.rerank_prompt import LABEL_ANSWERS, RATING_ANSWERS

# Ends of the prompts of PromptLayout.
_LISTWISE_END = "\nAnswer:"
_POINTWISE_END = "\nRating:"


class PromptEncoder:
    """A model's tokenizer, with the tokens of the answers.

    Args:
        name: of the model, for messages.
        tokenizer: of transformers.

    Raises:
        ConfigError: an answer is not one token of its own.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.begins_with = self._find_beginning()
        """Tokens in front of each prompt, such as <bos>."""
        self.label_tokens = self._find_answers(name, _LISTWISE_END, LABEL_ANSWERS)
        """The token of each of LABELS."""
        self.rating_tokens = self._find_answers(name, _POINTWISE_END, RATING_ANSWERS)
        """The token of each of RATINGS."""

    @property
    def answer_tokens(self) -> tuple[int, ...]:
        """Of labels, then of ratings: the rows of a label head."""
        return (*self.label_tokens, *self.rating_tokens)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """The tokens of whole prompts, with those in front."""
        return [[*self.begins_with, *tokens] for tokens in self._tokens(prompts)]

    def encode_ends(self, ends: Sequence[str]) -> list[list[int]]:
        """The tokens of ends, which follow those of a common beginning."""
        return self._tokens(ends)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded: list[list[int]] = self.tokenizer(
            list(texts), add_special_tokens=False, verbose=False
        )["input_ids"]
        return encoded

    def _find_beginning(self) -> tuple[int, ...]:
        plain = self._tokens(["Answer"])[0]
        whole = self.tokenizer("Answer")["input_ids"]
        starts = range(len(whole) - len(plain) + 1)
        start = next((n for n in starts if whole[n : n + len(plain)] == plain), 0)
        return tuple(whole[:start])

    def _find_answers(self, name: str, end: str, answers: Sequence[str]) -> tuple[int, ...]:
        asked, *answered = self._tokens([end, *(end + answer for answer in answers)])
        for answer, tokens in zip(answers, answered, strict=True):
            if tokens[:-1] != asked:
                raise ConfigError(
                    f"language model {name!r} can't rank by labels: its tokenizer has no single "
                    f"token for {answer!r} behind {end.strip()!r}"
                )
        found = tuple(tokens[-1] for tokens in answered)
        if len(set(found)) < len(found):
            raise ConfigError(
                f"language model {name!r} can't rank by labels: its tokenizer has one token for "
                f"several of {', '.join(map(repr, answers))}"
            )
        return found
