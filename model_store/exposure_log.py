"""The log of exposures: what people were answered waits in streams until it is archived.

An entry holds answers that one worker gave within a second to users of one stream: an entry for
each would cost ten times the CPU time, here and in the store. Answers reach the log at least once:
whoever archives them leaves repeats out, which have the same `request_id` and `user_id`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final, NamedTuple

import redis
from pydantic import TypeAdapter

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
    shard_of,
)
from model_store.store import store_errors
from model_store.texts import is_encodable

_ANSWERS = b"b"
# Of earlier releases, whose entries are of one answer.
_ANSWER, _NAME = b"a", b"m"
_KEYS = [keys.exposure_log_key(shard) for shard in range(N_SHARDS)]
_ENTRIES_AT_ONCE = 200
_WRITTEN = TypeAdapter(Any)

_FUNCTIONS = """
local key = KEYS[1]
local function oldest() return redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1] end
local function newest() return redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1] end

-- How many answers there were with this entry, since the stream was empty.
local function count_at(entry)
  local fields = entry and entry[2] or {}
  for place = 1, #fields, 2 do
    if fields[place] == 'c' then return tonumber(fields[place + 1]) end
  end
  return 0
end
local function append(document, n)
  local count = count_at(newest()) + n
  redis.call('XADD', key, '*', 'b', document, 'c', string.format('%.0f', count))
  return count
end
"""
APPEND = (
    _FUNCTIONS
    + """
local limit, n, document = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local count = append(document, n)
for _ = 1, 100 do
  if count < limit then break end
  local entry = oldest()
  if count - count_at(entry) < limit then break end
  redis.call('XDEL', key, entry[1])
end
"""
)
# What is left of an entry goes to the end of the stream, unless somebody else changed it meanwhile.
# It is there before the entry goes: a store that is full rejects it.
_REPLACE = (
    _FUNCTIONS
    + """
local id, n, document = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if #redis.call('XRANGE', key, id, id) == 0 then return 0 end
if n > 0 then append(document, n) end
redis.call('XDEL', key, id)
return 1
"""
)
LOAD: Command = ("SCRIPT", "LOAD", APPEND)
_APPEND_SHA = sha1(APPEND.encode(), usedforsecurity=False).hexdigest()


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
    """An answer as it was given.

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


Row = tuple[
    str, str | None, float, str, str, str, Sequence[str], Exploration | dict[str, Any] | None, str
]
"""The attributes of an `Exposure` in their order, as a plain tuple: made and encoded in half of the
time, and there is one for each request. An exploration may be the dictionary of its attributes."""
USER_AT: Final = 1
"""The place of the user id in a row."""
ITEMS_AT: Final = 6
"""That of the item ids."""


def exposure_keys() -> list[str]:
    """All streams."""
    return list(_KEYS)


def exposure_key_of(user_id: str | None) -> str:
    """The stream with what a user was answered."""
    return _KEYS[shard_of(user_id or "")]


def exposures_command(key: str, shown: Sequence[Row], max_answers: int) -> Command:
    """Append answers to a stream; rejected with NOSCRIPT until `LOAD` was sent.

    Args:
        key: of the stream, as of `exposure_key_of`.
        shown: the answers; at least one.
        max_answers: limit on the answers of all streams together; the oldest go. What was written
            again when somebody was forgotten counts again.

    Raises:
        ValueError: a text of them can't be written in UTF-8.
    """
    limit = max(1, max_answers // N_SHARDS)
    return ("EVALSHA", _APPEND_SHA, 1, key, limit, len(shown), _WRITTEN.dump_json(shown))


def decode_exposures(fields: Fields) -> list[Exposure]:
    """Read the answers of an entry, also of one that an earlier release wrote.

    Raises:
        StoreError: the entry is something else.
    """
    try:
        if _ANSWERS in fields:
            shown = [_decode(*answer) for answer in json.loads(fields[_ANSWERS])]
        else:
            shown = [_decode_single(fields)]
    except (KeyError, ValueError, TypeError, RegistryError) as error:
        raise StoreError(f"entry of the exposure log with fields {sorted(fields)[:5]}") from error
    for one in shown:
        check_time(one.at_s)
    return shown


def exposures_of(user_id: str, client: redis.Redis) -> Iterator[Exposure]:
    """What a user was answered, as far as it can be read.

    Raises:
        StoreAway: the store can't be reached.
    """
    for _, shown in _entries_with(user_id, client):
        yield from (one for one in shown if one.user_id == user_id)


def forget_exposures(user_id: str, client: redis.Redis) -> int:
    """Remove what a user was answered; returns how many answers it was.

    Entries that name the user and can't be read are removed as a whole.

    Raises:
        StoreAway: the store can't be reached.
    """
    key, n_forgotten, is_done = exposure_key_of(user_id), 0, False
    while not is_done:
        is_done = True
        for entry_id, shown in _entries_with(user_id, client):
            left = [one for one in shown if one.user_id != user_id]
            document = _WRITTEN.dump_json([tuple(one) for one in left])
            with store_errors():
                is_replaced = client.eval(_REPLACE, 1, key, entry_id, len(left), document)
            if is_replaced:
                n_forgotten += len(shown) - len(left)
            else:  # archived meanwhile, or somebody else was forgotten who is in it too
                is_done = False
    return n_forgotten


def _decode(
    request_id: object,
    user_id: object,
    at_s: float,
    version: object,
    arm: object,
    served_by: object,
    item_ids: Sequence[object],
    drawn: dict[str, Any] | None,
    name: str,
) -> Exposure:
    return Exposure(
        str(request_id),
        None if user_id is None else str(user_id),
        *(float(at_s), str(version), str(arm), str(served_by)),
        tuple(map(str, item_ids)),
        None if drawn is None else _decode_exploration(**drawn, n_items=len(item_ids)),
        check_name(name),
    )


def _decode_single(fields: Fields) -> Exposure:
    request_id, at_s, version, arm, served_by, item_ids, *drawn = json.loads(fields[_ANSWER])
    return _decode(
        *(request_id, fields[USER].decode() if USER in fields else None),
        *(at_s, version, arm, served_by, item_ids),
        dict(zip(Exploration.__slots__, drawn, strict=True)) if drawn else None,
        fields[_NAME].decode() if _NAME in fields else DEFAULT,
    )


def _decode_exploration(
    temperature: float, n_candidates: int, log_propensities: list[float], *, n_items: int
) -> Exploration:
    propensities = tuple(map(float, log_propensities))
    drawn = Exploration(float(temperature), int(n_candidates), propensities)
    if not drawn.is_possible_of(n_items):
        raise ValueError("not the propensities of such an answer")
    return drawn


def _entries_with(user_id: str, client: redis.Redis) -> Iterator[tuple[bytes, list[Exposure]]]:
    """Entries with a user's answers, and with others'; those that can't be read have none."""
    if not is_encodable(user_id):
        return
    written = _WRITTEN.dump_json(user_id)
    for entry_id, fields in entries_of(exposure_key_of(user_id), client, _ENTRIES_AT_ONCE):
        if written not in fields.get(_ANSWERS, b"") and fields.get(USER) != user_id.encode():
            continue
        try:
            shown = decode_exposures(fields)
        except StoreError:
            shown = []
        if not shown or any(one.user_id == user_id for one in shown):
            yield entry_id, shown
