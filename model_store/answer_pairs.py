"""Answers of two versions to the same request, kept in the store to compare the versions by."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from model_store import keys

log = logging.getLogger(__name__)

MAX_PAIRS = 5_000
"""Of two versions; the oldest go."""
MAX_ITEMS = 100
"""Of each answer; the rest of a longer one is not kept."""
EXPIRY_S = 30 * 24 * 3600


class AnswerPair(BaseModel):
    """What two versions recommend to somebody; a and b are the items, best first."""

    model_config = ConfigDict(frozen=True)

    user_id: str | None = Field(description="null for a request without one")
    n_interactions: int = Field(ge=0, description="length of the history, as version b knows it")
    a: tuple[str, ...]
    b: tuple[str, ...]
    a_ms: FiniteFloat = Field(ge=0, description="version a's time for scoring and choosing")
    b_ms: FiniteFloat = Field(ge=0, description="version b's")


def keep_commands(
    a: str, b: str, pairs: Sequence[AnswerPair]
) -> tuple[tuple[str | bytes | int, ...], ...]:
    """Commands that keep pairs.

    Args:
        a, b: the versions.
        pairs: their answers, oldest first; at least one.
    """
    key = keys.answer_pairs_key(a, b)
    return (
        ("LPUSH", key, *(pair.model_dump_json() for pair in pairs)),
        ("LTRIM", key, 0, MAX_PAIRS - 1),
        ("EXPIRE", key, EXPIRY_S),
    )


def read_pair(document: bytes) -> AnswerPair | None:
    """A pair as it was kept; None where the document is none."""
    try:
        return AnswerPair.model_validate_json(document)
    except ValidationError:
        log.debug("ignoring a pair of answers that can't be read: %r", document[:200])
        return None
