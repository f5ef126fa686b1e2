"""Finds flaws of an answer.

A small model loops, echoes, breaks off and sometimes apologises. Such text would give an item a
meaningless vector, so it is recognised here and generated again.
"""

from __future__ import annotations

import re
from enum import StrEnum

MIN_WORDS = 8
LOOP_NGRAM = 3
# Share of an answer's 3-word sequences that repeat earlier ones. Sound answers stay under .15 even
# with a long title twice; loops are above .4.
LOOP_SHARE = 0.3
ECHO_NGRAM = 4
ECHO_SHARE = 0.5

WORD = re.compile(r"[\w'’-]+")
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")
# "Mr. Smith" and "Michael B. Jackson" don't end a sentence.
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|No|Prof)|\b[A-Z])\.$")
REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|i apologi[sz]e|as an ai\b|i (?:can ?not|can['’]?t|am unable to)"
    r" (?:assist|help|provide|fulfil|answer|comply))",
    re.IGNORECASE,
)


class Flaw(StrEnum):
    """Reasons why an answer can't be used."""

    EMPTY = "empty"
    TOO_SHORT = "too_short"
    UNFINISHED = "unfinished"
    LOOP = "loop"
    PROMPT_ECHO = "prompt_echo"
    REFUSAL = "refusal"
    UNFINISHED_THINKING = "unfinished_thinking"
    # Of the item's own text; asking once more changes nothing.
    FILTERED = "filtered"
    TOO_LONG = "too_long"
    REJECTED = "rejected"


LASTING = frozenset({Flaw.FILTERED, Flaw.TOO_LONG, Flaw.REJECTED})
"""Flaws that another try would find again."""


def trim_to_sentence(text: str) -> str:
    """One line without what follows the last full sentence; "" if there is no full sentence."""
    line = " ".join(text.split())
    end = 0
    for match in SENTENCE_END.finditer(line):
        if not ABBREVIATION.search(line[: match.start() + 1]):
            end = match.end()
    return line[:end]


def find_flaw(answer: str, answer_begins: str, prompt_text: str) -> Flaw | None:
    """The first flaw of a model's whole, untrimmed answer, or None if it can be used.

    `answer` includes its given beginning; `prompt_text` is all text that the model was given.
    """
    written = answer.strip().removeprefix(answer_begins).strip()
    if not written:
        return Flaw.EMPTY
    if REFUSAL.search(written):
        return Flaw.REFUSAL
    words = _words(written)
    if share_repeated(words, LOOP_NGRAM) > LOOP_SHARE:
        return Flaw.LOOP
    if _share_from(words, _words(prompt_text)) > ECHO_SHARE:
        return Flaw.PROMPT_ECHO
    trimmed = trim_to_sentence(answer)
    if not trimmed:
        return Flaw.UNFINISHED
    if len(_words(trimmed.removeprefix(answer_begins))) < MIN_WORDS:
        return Flaw.TOO_SHORT
    return None


def share_repeated(words: list[str], n: int) -> float:
    """Share of the n-word sequences of `words` that repeat earlier ones; 0 for fewer than 2."""
    grams = _ngrams(words, n)
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def _share_from(words: list[str], source: list[str]) -> float:
    grams = _ngrams(words, ECHO_NGRAM)
    known = set(_ngrams(source, ECHO_NGRAM))
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def _ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
