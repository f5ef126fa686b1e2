"""Words for true and false, in the spellings of databases and of spreadsheets in some languages.

A column of a catalogue may hold them, and so may a filter on an attribute that is a boolean.
"""

from __future__ import annotations

TRUTH_WORDS = (
    *(("true", "false"), ("yes", "no"), ("on", "off"), ("y", "n"), ("t", "f")),
    *(("wahr", "falsch"), ("ja", "nein"), ("vrai", "faux"), ("oui", "non")),
    *(("verdadero", "falso"), ("sí", "no"), ("si", "no")),
)
"""Pairs of a word for true and one for false, in lower case."""

_TRUTHS = {
    word: truth for pair in TRUTH_WORDS for word, truth in zip(pair, (True, False), strict=True)
}


def truth_of(text: str) -> bool | None:
    """What a word says, in whatever case; None if it is none of these words."""
    return _TRUTHS.get(text.strip().lower())
