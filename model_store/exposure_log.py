"""The log of exposures: what people were answered waits in streams until it is archived.

An entry is one answer. Answers reach the log at least once: whoever archives them leaves repeats
out, which have the same `request_id` and `user_id`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis
from pydantic_core import to_json

from model_store import keys
from model_store.deployments import DEFAULT, check_name
from model_store.errors import RegistryError, StoreError
from model_store.event_log import (
    N_SHARDS,
    USER,
    Command,
    Fields,
    check_time,
    entries_of,
    remove_entries,
    shard_of,
)
from model_store.texts import is_encodable

_ANSWER, _NAME = b"a", b"m"
_KEYS = [keys.exposure_log_key(shard) for shard in range(N_SHARDS)]


@dataclass(frozen=True, slots=True)
class Exploration:
    """How the first ranks of an answer were drawn at random.

    Attributes:
        temperature: that the scores were divided by; above 0.
        n_candidates: how many of the best items were drawn from.
        log_propensities: for each drawn rank, the log-probability of its item given those above it.
            The ranks after these follow by score, with probability 1 given those above.
    """

    temperature: float
    n_candidates: int
    log_propensities: tuple[float, ...]

    def is_possible_of(self, n_items: int) -> bool:
        """Whether an answer of so many items can have been drawn so."""
        return (
            math.isfinite(self.temperature)
            and self.temperature > 0
            and 0 < len(self.log_propensities) <= min(n_items, self.n_candidates)
            and all(-math.inf < one <= 0 for one in self.log_propensities)
        )


class Exposure(NamedTuple):
    """An answer as it was given; a tuple, as one is made for each request.

    Attributes:
        request_id: of the answer; events that follow it name it.
        user_id: None for a request about nobody in particular.
        at_s: unix seconds.
        version: that answered.
        arm: of an experiment; "" for none.
        served_by: what ranked the items, in the contract's words.
        item_ids: best first: the rank of an item is its place, from 1.
        exploration: None where nothing was drawn at random.
        model: the name that the version answered under.
    """

    request_id: str
    user_id: str | None
    at_s: float
    version: str
    arm: str
    served_by: str
    item_ids: tuple[str, ...]
    exploration: Exploration | None = None
    model: str = DEFAULT


def exposure_keys() -> list[str]:
    """All streams."""
    return list(_KEYS)


def exposure_key_of(user_id: str | None) -> str:
    """The stream with what a user was answered."""
    return _KEYS[shard_of(user_id or "")]


def exposure_command(shown: Exposure, max_entries: int) -> Command:
    """Append an answer.

    Args:
        shown: the answer.
        max_entries: limit on the entries of all streams together; the oldest go.

    Raises:
        ValueError: a text of it can't be written in UTF-8.
    """
    if shown.user_id is not None and not is_encodable(shown.user_id):
        raise ValueError("a user id can't be written in UTF-8")
    user_id, drawn = shown.user_id, shown.exploration
    answer: list[Any] = [
        *(shown.request_id, round(shown.at_s, 3), shown.version, shown.arm, shown.served_by),
        shown.item_ids,
    ]
    if drawn is not None:
        answer += (drawn.temperature, drawn.n_candidates, drawn.log_propensities)
    limit = max(1, max_entries // N_SHARDS)
    append = ("XADD", exposure_key_of(user_id), "MAXLEN", "~", limit, "*")
    user = () if user_id is None else ("u", user_id)
    document = to_json(answer)  # in a sixth of the time that json takes
    if shown.model == DEFAULT:
        return (*append, *user, "a", document)
    # A field of its own, which archivers of earlier releases pass over.
    return (*append, *user, "a", document, "m", shown.model)


def decode_exposure(fields: Fields) -> Exposure:
    """Read what `exposure_command` wrote.

    Raises:
        StoreError: the entry is something else.
    """
    try:
        request_id, at_s, version, arm, served_by, item_ids, *drawn = json.loads(fields[_ANSWER])
        user_id = fields[USER].decode() if USER in fields else None
        shown = Exposure(
            *(str(request_id), user_id, float(at_s), str(version), str(arm), str(served_by)),
            tuple(map(str, item_ids)),
            _decode_exploration(*drawn, n_items=len(item_ids)) if drawn else None,
            check_name(fields[_NAME].decode()) if _NAME in fields else DEFAULT,
        )
    except (KeyError, ValueError, TypeError, RegistryError) as error:
        raise StoreError(f"entry of the exposure log with fields {sorted(fields)[:5]}") from error
    check_time(shown.at_s)
    return shown


def _decode_exploration(
    temperature: float, n_candidates: int, log_propensities: list[float], *, n_items: int
) -> Exploration:
    propensities = tuple(map(float, log_propensities))
    drawn = Exploration(float(temperature), int(n_candidates), propensities)
    if not drawn.is_possible_of(n_items):
        raise ValueError("not the propensities of such an answer")
    return drawn


def exposures_of(user_id: str, client: redis.Redis) -> Iterator[Exposure]:
    """What a user was answered, as far as it can be read.

    Raises:
        StoreAway: the store can't be reached.
    """
    for _, fields in entries_of(user_id, exposure_key_of(user_id), client):
        try:
            yield decode_exposure(fields)
        except StoreError:
            continue


def forget_exposures(user_id: str, client: redis.Redis) -> int:
    """Remove what a user was answered; returns how many answers it was.

    Raises:
        StoreAway: the store can't be reached.
    """
    key = exposure_key_of(user_id)
    entry_ids = [entry_id for entry_id, _ in entries_of(user_id, key, client)]
    remove_entries(key, entry_ids, client)
    return len(entry_ids)
