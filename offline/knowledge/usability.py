"""Ends a run whose answers are of no use, before they have cost more time and money."""

from __future__ import annotations

from collections import Counter

from model_store.errors import LongtailError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw
from offline.knowledge.language_model import Answer

MIN_JUDGED = 20
"""A share of fewer answers says little."""
_EXCERPT_CHARACTERS = 100
_ADVICE = {
    Flaw.UNFINISHED_THINKING: "it thinks before it answers: give it more knowledge.max_new_tokens, "
    "or turn its thinking off where it is served",
    Flaw.UNFINISHED: "its answers are cut off: give it more knowledge.max_new_tokens",
}


class UnusableAnswers(LongtailError):  # noqa: N818 - names its subject
    """Too few of a language model's answers can be used."""


class Usability:
    """Counts answers of one run.

    Args:
        config: names the model and the smallest share.
    """

    def __init__(self, config: KnowledgeConfig) -> None:
        self._config = config
        # A model in this process costs nothing but time, and may be small and odd on purpose.
        self._min_usable = 0.0 if config.base_url is None else config.min_usable
        self._n_first = self._n_first_usable = self._n_usable = 0
        self._flaws: Counter[Flaw] = Counter()
        self._last = ""

    def count(self, answer: Answer, flaw: Flaw | None, *, is_first: bool) -> None:
        """Count an answer, with the flaw that was found in it."""
        self._n_usable += flaw is None
        self._n_first += is_first
        self._n_first_usable += is_first and flaw is None
        if flaw is not None:
            self._flaws[flaw] += 1
            self._last = answer.reason or repr(answer.text[:_EXCERPT_CHARACTERS])

    def check(self) -> bool:
        """Whether the model is known to work.

        Raises:
            UnusableAnswers: too few of the first answers can be used.
        """
        n_needed = self._min_usable * self._n_first
        if self._n_first >= MIN_JUDGED and self._n_first_usable < n_needed:
            raise self._error(self._n_first - self._n_first_usable, self._n_first)
        return self._n_usable > 0

    def check_at_end(self) -> None:
        """Check a run about few items, which are given all their attempts first.

        Raises:
            UnusableAnswers: there were several, and none can be used.
        """
        if self._n_first > 1 and not self._n_usable and self._min_usable > 0:
            raise self._error(self._n_first, self._n_first)

    def _error(self, n_flawed: int, n_asked: int) -> UnusableAnswers:
        flaws = ", ".join(f"{flaw} {count}" for flaw, count in self._flaws.most_common())
        worst = self._flaws.most_common(1)[0][0]
        advice = _ADVICE.get(worst, f"the last one: {self._last}")
        return UnusableAnswers(
            f"language model {self._config.model!r}: {n_flawed} of {n_asked} first answers can't "
            f"be used ({flaws}); {advice} (knowledge.min_usable = {self._config.min_usable:g})"
        )
