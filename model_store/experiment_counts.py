"""How what an experiment's users saw and clicked lies in the store, and the script that counts it.

The same is counted of a period: the time in which the same versions answer the same shares of the
users under a name. The users of an experiment, or of the present period of a name, are spread over
a few hashes (shards). Each holds

    w<worker id>       number of the last batch that this worker wrote
    u<user>            uint32 exposures | uint32 clicks | digests of the last clicks, 8 bytes each
    p<user>            the same by version: the number of versions and of answers, one byte each; of
                       each version its number, uint32 exposures, uint32 clicks; of the last answers
                       uint32 digest of the request_id | number of the version; then the digests
                       of clicks whose answers weren't counted yet
    v                  versions, separated by spaces; a version's number is its position, from 1 on
    since              unix seconds of the first exposure
    period, generation the period that all of this is of, and when it began; none of an experiment
    m<arm>:<moment>    sum over the users of the shard, as a decimal number
    m<arm>@<version>:<moment>  the same of what this version answered

A user is an 8-byte digest of the user id: the sums are about nobody by name. Sums of squares can't
be counted up by an event alone, so the script reads a user's sums, writes new ones, and adds the
difference to the arm's, all at once. A batch that is sent again, as its answer didn't come, is
written once. The first batch of a later period replaces what was counted of the one before it;
those of an earlier one, as of a worker that is behind, count no more. Whoever was forgotten since
the worker looked for that is left out.

A click names the answer that it follows by its request_id. An arm's clicks are all of those of its
users; a version's are those that follow one of the last answers that it gave the user. As another
worker may write a click before the answer is written, it waits for it in the user's record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha1
from typing import NamedTuple, TypeAlias

from model_store import keys
from model_store.experiment import KEPT_DAYS
from model_store.forgotten import digest_of_user

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
REMEMBERED_ANSWERS = 32
"""Of a user; a click that follows an older one is no version's."""
WAITING_CLICKS = 16
"""Of a user, whose answers weren't counted yet."""
MAX_VERSIONS = 200
"""Of an experiment; those of the next ones are not told apart."""
EXPIRY_S = KEPT_DAYS * 24 * 3600
_DIGEST_BYTES = 8
_REQUEST_BYTES = 4

Command: TypeAlias = tuple[str | bytes | int, ...]


class Scope(NamedTuple):
    """What is counted together.

    Attributes:
        name: of an experiment, or `@` and the name that requests give as `model`.
        period: of the latter, what tells it from the one before; of an experiment empty.
        generation: of the deployment record in which it began, or of a later one that is the same
            for requests.
    """

    name: str
    period: str = ""
    generation: int = 0

    @classmethod
    def of_name(
        cls, model: str, generation: int, since: int, split: tuple[str | None, str, str]
    ) -> Scope:
        """The period in which the same versions answer the same users under a name.

        Args:
            model: the name.
            generation: of the deployment record.
            since: generation in which the period began; without it, versions that answer again
                would go on with their earlier counts.
            split: of the deployment record.
        """
        active, epoch, experiment = split
        return cls(f"@{model}", f"{since} {active} {epoch} {experiment}", generation)


@dataclass(slots=True)
class ShownBy:
    """What one version answered a user: how often, and the request_ids of the last answers."""

    exposures: int = 0
    request_ids: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_ANSWERS))


@dataclass(slots=True)
class Seen:
    """What is to be counted for one user.

    Attributes:
        shown: by version.
        clicks: (request_id, item_id) of each.
    """

    shown: dict[str, ShownBy] = field(default_factory=dict)
    clicks: list[tuple[str, str]] = field(default_factory=list)

    def note(self, version: str, request_id: str) -> None:
        """Count an answer."""
        shown = self.shown.get(version)
        if shown is None:
            shown = self.shown[version] = ShownBy()
        shown.exposures += 1
        shown.request_ids.append(request_id)

    @property
    def exposures(self) -> int:
        """Of all versions."""
        return sum(shown.exposures for shown in self.shown.values())


COUNT = f"""
local key, expiry, kept = KEYS[1], {EXPIRY_S}, {_DIGEST_BYTES * REMEMBERED_CLICKS}
local click_bytes, answer_bytes = {_DIGEST_BYTES + _REQUEST_BYTES}, {_REQUEST_BYTES + 1}
local worker, batch = 'w' .. ARGV[1], tonumber(ARGV[2])
if tonumber(redis.call('HGET', key, worker) or 0) >= batch then return 0 end

local period, generation = ARGV[3], tonumber(ARGV[4])
if period ~= '' then
  local now = redis.call('HMGET', key, 'period', 'generation')
  if now[1] ~= period then
    if now[1] and tonumber(now[2]) > generation then return 0 end
    redis.call('UNLINK', key)
    redis.call('HSET', key, 'period', period, 'generation', generation)
  end
end

local looked_at = tonumber(ARGV[5])
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
local somebody_is = newest and tonumber(newest) > looked_at
local function is_forgotten(person)
  local at = somebody_is and redis.call('ZSCORE', KEYS[2], person)
  return at and tonumber(at) > looked_at
end

local changes = {{}}
local function change(group, x, y, new_x, new_y)
  local sums = changes[group]
  if not sums then
    sums = {{0, 0, 0, 0, 0, 0}}
    changes[group] = sums
  end
  if x + y == 0 and new_x + new_y > 0 then sums[1] = sums[1] + 1 end
  sums[2] = sums[2] + new_x - x
  sums[3] = sums[3] + new_y - y
  sums[4] = sums[4] + new_x * new_x - x * x
  sums[5] = sums[5] + new_y * new_y - y * y
  sums[6] = sums[6] + new_x * new_y - x * y
end

local names, numbers = {{}}, {{}}
local known_names = redis.call('HGET', key, 'v') or ''
for name in string.gmatch(known_names, '%S+') do
  names[#names + 1] = name
  numbers[name] = #names
end
local function number_of(name)
  if not numbers[name] and #names < {MAX_VERSIONS} then
    names[#names + 1] = name
    numbers[name] = #names
  end
  return numbers[name]
end

-- By version of one user.
local function read_parts(packed)
  local sums, answers, waiting = {{}}, '', ''
  if packed then
    local n_versions, n_answers = string.byte(packed, 1, 2)
    local place = 3
    for _ = 1, n_versions do
      local number, x, y = struct.unpack('<BI4I4', packed, place)
      sums[number] = {{x, y, x, y}}
      place = place + 9
    end
    answers = string.sub(packed, place, place + n_answers * answer_bytes - 1)
    waiting = string.sub(packed, place + n_answers * answer_bytes)
  end
  return sums, answers, waiting
end
local function version_of(answers, request)
  for first = 1, #answers, answer_bytes do
    if string.sub(answers, first, first + {_REQUEST_BYTES - 1}) == request then
      return string.byte(answers, first + {_REQUEST_BYTES})
    end
  end
end

local function count_user(place, n_versions)
  local arm, user, digests = ARGV[place], ARGV[place + 2], ARGV[place + 3]
  place = place + 5
  local x, y, known = 0, 0, ''
  local before = redis.call('HMGET', key, 'u' .. user, 'p' .. user)
  if before[1] then
    x, y = struct.unpack('<I4I4', before[1])
    known = string.sub(before[1], 9)
  end
  local sums, answers, waiting = read_parts(before[2])
  local shown = 0
  for _ = 1, n_versions do
    local number, n, requests = number_of(ARGV[place]), tonumber(ARGV[place + 1]), ARGV[place + 2]
    place = place + 3
    shown = shown + n
    if number then
      local sum = sums[number] or {{0, 0, 0, 0}}
      sums[number] = sum
      sum[3] = sum[3] + n
      for first = 1, #requests, {_REQUEST_BYTES} do
        local request = string.sub(requests, first, first + {_REQUEST_BYTES - 1})
        answers = answers .. request .. string.char(number)
      end
    end
  end
  answers = string.sub(answers, -{REMEMBERED_ANSWERS} * answer_bytes)
  local new_x, new_y = x + shown, y
  local left = ''
  local function count_for_version(request)
    local number = version_of(answers, request)
    if number then
      sums[number][4] = sums[number][4] + 1
    else
      left = left .. request
    end
  end
  for first = 1, #waiting, {_REQUEST_BYTES} do
    count_for_version(string.sub(waiting, first, first + {_REQUEST_BYTES - 1}))
  end
  for first = 1, #digests, click_bytes do
    local digest = string.sub(digests, first, first + {_DIGEST_BYTES - 1})
    if not string.find(known, digest, 1, true) then
      new_y, known = new_y + 1, known .. digest
      count_for_version(string.sub(digests, first + {_DIGEST_BYTES}, first + click_bytes - 1))
    end
  end
  change(arm, x, y, new_x, new_y)
  local packed, n = '', 0
  for number, sum in pairs(sums) do
    packed, n = packed .. struct.pack('<BI4I4', number, sum[3], sum[4]), n + 1
    change(arm .. '@' .. names[number], unpack(sum))
  end
  redis.call('HSET', key,
    'u' .. user, struct.pack('<I4I4', new_x, new_y) .. string.sub(known, -kept),
    'p' .. user, string.char(n, #answers / answer_bytes) .. packed .. answers
      .. string.sub(left, -{WAITING_CLICKS * _REQUEST_BYTES}))
end
local place = 6
while place <= #ARGV do
  local n_versions = tonumber(ARGV[place + 4])
  if not is_forgotten(ARGV[place + 1]) then count_user(place, n_versions) end
  place = place + 5 + 3 * n_versions
end

local moments = {{'{"', '".join(MOMENTS)}'}}
for group, sums in pairs(changes) do
  for place, sum in ipairs(sums) do
    if sum ~= 0 then
      redis.call('HINCRBY', key, 'm' .. group .. ':' .. moments[place], string.format('%.0f', sum))
    end
  end
end
local all_names = table.concat(names, ' ')
if all_names ~= known_names then redis.call('HSET', key, 'v', all_names) end
if all_names ~= '' then redis.call('HSETNX', key, 'since', redis.call('TIME')[1]) end
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
    scope: Scope,
    shard: int,
    source: tuple[str, int],
    seen: Sequence[tuple[str, str, Seen]],
    looked_at_us: int,
) -> Command:
    """Count what users of one shard saw and clicked.

    Args:
        scope: what they are counted in.
        shard: all of the users belong to it.
        source: id of the worker, and the number of its batch; numbers only grow, from 1 on.
        seen: arm, user id, and what is to be counted.
        looked_at_us: whoever was forgotten later, in unix microseconds, is not counted.
    """
    arguments: list[str | bytes | int] = []
    for arm, user_id, one in seen:
        clicks = b"".join(
            _digest(f"{request} {item}") + _request_digest(request) for request, item in one.clicks
        )
        arguments += (arm, digest_of_user(user_id), user_key(user_id), clicks, len(one.shown))
        for version, shown in one.shown.items():
            answers = b"".join(map(_request_digest, shown.request_ids))
            arguments += (version, shown.exposures, answers)
    names = (keys.experiment_key(scope.name, shard), keys.FORGOTTEN)
    period = (scope.period, scope.generation)
    return ("EVALSHA", _COUNT_SHA, 2, *names, *source, *period, looked_at_us, *arguments)


def fields_of(user: bytes) -> tuple[bytes, bytes]:
    """The fields with what was counted of a user, as of `user_key`."""
    return b"u" + user, b"p" + user


def removal_commands(model: str) -> list[Command]:
    """Remove what was counted under the name of a model, which nobody can read any more."""
    return [("UNLINK", keys.experiment_key(f"@{model}", shard)) for shard in range(N_SHARDS)]


def expiry_commands(name: str) -> list[Command]:
    """Let the figures of an experiment that ends be forgotten after a while."""
    return [("EXPIRE", keys.experiment_key(name, shard), EXPIRY_S) for shard in range(N_SHARDS)]


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()


def _request_digest(request_id: str) -> bytes:
    return blake2b(request_id.encode("utf-8", "replace"), digest_size=_REQUEST_BYTES).digest()
