"""Answers that a user got, kept so that the next ones don't repeat them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from model_store import keys
from model_store.errors import StoreError

MAX_ANSWERS = 50
"""That are kept of a user; the oldest go."""
MAX_MINUTES = 7 * 24 * 60
"""For so long answers are kept after the last one."""

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True)
class ServedAnswer:
    """The items of an answer, and when it was given, in unix seconds."""

    at_s: int
    item_ids: tuple[str, ...]


def keep_commands(user_id: str, answer: ServedAnswer, ttl_s: int = 0) -> list[Command]:
    """Commands that keep an answer as the newest one.

    Args:
        user_id: who got it.
        answer: the answer.
        ttl_s: seconds until all of them are removed, unless more come; 0: the usual time.
    """
    key, document = keys.served_key(user_id), json.dumps([answer.at_s, answer.item_ids])
    expiry_s = min(ttl_s or MAX_MINUTES * 60, MAX_MINUTES * 60)
    return [
        ("LPUSH", key, document),
        ("LTRIM", key, 0, MAX_ANSWERS - 1),
        ("EXPIRE", key, expiry_s),
    ]


def read_command(user_id: str, n_answers: int = MAX_ANSWERS) -> Command:
    """The last answers of a user, newest first; the reply is for `decode_answers`."""
    return ("LRANGE", keys.served_key(user_id), 0, n_answers - 1)


def decode_answers(reply: Sequence[bytes]) -> list[ServedAnswer]:
    """Read what `keep_commands` wrote.

    Raises:
        StoreError: it is damaged.
    """
    try:
        documents = [json.loads(document) for document in reply]
        return [ServedAnswer(int(at_s), tuple(map(str, ids))) for at_s, ids in documents]
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"not readable as answers of a user: {error}") from error
