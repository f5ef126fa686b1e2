"""How what an experiment's users saw and clicked lies in the store, and the script that counts it.

The users of an experiment are spread over a few hashes (shards). Each holds

    w<worker id>       number of the last batch that this worker wrote
    u<user>            uint32 exposures | uint32 clicks | digests of the last clicks, 8 bytes each
    m<arm>:<moment>    sum over the users of the shard, as a decimal number

A user is an 8-byte digest of the user id: the sums are about nobody by name. Sums of squares can't
be counted up by an event alone, so the script reads a user's sums, writes new ones, and adds the
difference to the arm's, all at once. A batch that is sent again, as its answer didn't come, is
written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha1
from typing import TypeAlias

from model_store import keys
from model_store.experiment import KEPT_DAYS

N_SHARDS = 16
MOMENTS = (
    "users",
    "exposures",
    "clicks",
    "exposures_squared",
    "clicks_squared",
    "products",
)
REMEMBERED_CLICKS = 64
"""Of a user; an older click that is sent again counts again."""
EXPIRY_S = KEPT_DAYS * 24 * 3600
_DIGEST_BYTES = 8

Command: TypeAlias = tuple[str | bytes | int, ...]


@dataclass(slots=True)
class Seen:
    """What is to be counted for one user: exposures, and (request_id, item_id) of clicks."""

    exposures: int = 0
    clicks: list[tuple[str, str]] = field(default_factory=list)


COUNT = f"""
local key, expiry, kept = KEYS[1], {EXPIRY_S}, {_DIGEST_BYTES * REMEMBERED_CLICKS}
local worker, batch = 'w' .. ARGV[1], tonumber(ARGV[2])
if tonumber(redis.call('HGET', key, worker) or 0) >= batch then return 0 end

local changes = {{}}
local function add(arm, moment, change)
  local name = 'm' .. arm .. ':' .. moment
  changes[name] = (changes[name] or 0) + change
end

for place = 3, #ARGV, 4 do
  local arm, user = ARGV[place], 'u' .. ARGV[place + 1]
  local shown, digests = tonumber(ARGV[place + 2]), ARGV[place + 3]
  local x, y, known = 0, 0, ''
  local before = redis.call('HGET', key, user)
  if before then
    x, y = struct.unpack('<I4I4', before)
    known = string.sub(before, 9)
  else
    add(arm, 'users', 1)
  end
  local new_x, new_y = x + shown, y
  for first = 1, #digests, {_DIGEST_BYTES} do
    local digest = string.sub(digests, first, first + {_DIGEST_BYTES - 1})
    if not string.find(known, digest, 1, true) then
      new_y, known = new_y + 1, known .. digest
    end
  end
  redis.call('HSET', key, user, struct.pack('<I4I4', new_x, new_y) .. string.sub(known, -kept))
  add(arm, 'exposures', new_x - x)
  add(arm, 'clicks', new_y - y)
  add(arm, 'exposures_squared', new_x * new_x - x * x)
  add(arm, 'clicks_squared', new_y * new_y - y * y)
  add(arm, 'products', new_x * new_y - x * y)
end

for name, change in pairs(changes) do
  if change ~= 0 then redis.call('HINCRBY', key, name, string.format('%.0f', change)) end
end
redis.call('HSET', key, worker, batch)
redis.call('EXPIRE', key, expiry)
return 1
"""

LOAD: Command = ("SCRIPT", "LOAD", COUNT)
_COUNT_SHA = sha1(COUNT.encode(), usedforsecurity=False).hexdigest()


def user_key(user_id: str) -> bytes:
    """What a user is called in the figures."""
    return _digest(user_id)


def shard_of(user: bytes) -> int:
    """The shard that a user, as of `user_key`, belongs to."""
    return user[0] % N_SHARDS


def count_command(
    name: str,
    shard: int,
    source: tuple[str, int],
    seen: Sequence[tuple[str, bytes, Seen]],
) -> Command:
    """Count what users of one shard saw and clicked.

    Args:
        name: of the experiment.
        shard: all of the users belong to it.
        source: id of the worker, and the number of its batch; numbers only grow, from 1 on.
        seen: arm, user as of `user_key`, and what is to be counted.
    """
    arguments: list[str | bytes | int] = []
    for arm, user, one in seen:
        clicks = b"".join(_digest(f"{request} {item}") for request, item in one.clicks)
        arguments += (arm, user, one.exposures, clicks)
    key = keys.experiment_key(name, shard)
    return ("EVALSHA", _COUNT_SHA, 1, key, *source, *arguments)


def read_commands(name: str, arms: Sequence[str]) -> list[Command]:
    """Read the sums of all arms; one reply for each shard, to be given to `sums_of`."""
    fields = [f"m{arm}:{moment}" for arm in arms for moment in MOMENTS]
    return [("HMGET", keys.experiment_key(name, shard), *fields) for shard in range(N_SHARDS)]


def sums_of(arms: Sequence[str], reply: Sequence[bytes | None]) -> dict[str, dict[str, bytes]]:
    """The sums of one shard by arm and moment; those that were never counted are missing."""
    found: dict[str, dict[str, bytes]] = {}
    for place, arm in enumerate(arms):
        values = reply[place * len(MOMENTS) : (place + 1) * len(MOMENTS)]
        named = zip(MOMENTS, values, strict=True)
        found[arm] = {moment: value for moment, value in named if value is not None}
    return found


def expiry_commands(name: str) -> list[Command]:
    """Let the figures of an experiment that ends be forgotten after a while."""
    return [("EXPIRE", keys.experiment_key(name, shard), EXPIRY_S) for shard in range(N_SHARDS)]


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()
