"""A script that the store runs: appends to one user's events, atomically, in one round trip.

An event whose identity (`Event.identity`: item, type and second) or event_id is there already is
ignored, the first report stays; events above the limit are removed, oldest first. A list, as stores
of version 0.1 have it, becomes a sorted set first; entries that can't be read are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1

from app.store.connection import Command
from model_store import keys
from model_store.codecs import (
    ITEM_ID_AT,
    LENGTHS_AT,
    TIME_AT,
    TYPED_ID_AT,
    Event,
    second_of,
)

# Lua counts from 1. From `many` arguments on it is cheaper to read all that is there at once; one
# command gets `at_once` arguments, an even number.
_CONSTANTS = f"""
local limit, time_at, item_at = {keys.MAX_EVENTS_PER_USER}, {TIME_AT + 1}, {ITEM_ID_AT + 1}
local lengths_at, typed_at = {LENGTHS_AT + 1}, {TYPED_ID_AT + 1}
local many, at_once = 100, 1000
"""

APPEND = (
    _CONSTANTS
    + """
local key = KEYS[1]
local known, named, looked_at, new = {}, {}, {}, {}

-- As model_store.codecs.second_of.
local function second_of(time) return string.format('%.0f', math.floor(time)) end

-- Item and type of a member in one text, and its event_id, '' where it has none.
local function identity_of(member)
  if string.sub(member, 9, 10) ~= 'E2' or #member < typed_at then
    return string.sub(member, item_at), ''
  end
  local n_item, n_type, n_id = struct.unpack('<HHH', member, lengths_at)
  local item_end = typed_at + n_item
  local item = string.sub(member, typed_at, item_end - 1)
  if n_type > 0 then
    item = item .. '\\0' .. string.sub(member, item_end, item_end + n_type - 1)
  end
  return item, string.sub(member, item_end + n_type, item_end + n_type + n_id - 1)
end

local function remember(members)
  for _, member in ipairs(members) do
    if #member >= item_at then
      local second = second_of((struct.unpack('<d', member, time_at)))
      local identity, event_id = identity_of(member)
      known[second .. identity] = true
      if event_id ~= '' then named[event_id] = true end
    end
  end
end

local function remember_all()
  if not looked_at.all then
    looked_at.all = true
    remember(redis.call('ZRANGE', key, 0, -1))
  end
end

local function add(second, score, member)
  local identity, event_id = identity_of(member)
  -- A repeat may have come with another time.
  if event_id ~= '' then remember_all() end
  if not looked_at.all and not looked_at[second] then
    looked_at[second] = true
    remember(redis.call('ZRANGEBYSCORE', key, second, string.format('(%.0f', second + 1)))
  end
  if known[second .. identity] or named[event_id] then return end
  known[second .. identity] = true
  if event_id ~= '' then named[event_id] = true end
  new[#new + 1] = score
  new[#new + 1] = member
end

local entries = {}
if redis.call('TYPE', key).ok == 'list' then
  -- Answered with WRONGTYPE, or where writes are rejected with that error: before a deletion.
  local answer = redis.pcall('SETRANGE', key, 0, '')
  if not string.find(answer.err, 'WRONGTYPE', 1, true) then return answer end
  entries = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
end
if #entries + #ARGV > many then remember_all() end

for place, entry in ipairs(entries) do
  if #entry > 14 and string.sub(entry, 1, 2) == 'E1' then
    local time = struct.unpack('<d', entry, 3)
    if time >= 0 and time <= 1e11 then
      local score = string.format('%.17g', time)
      add(second_of(time), score, struct.pack('>I8', place) .. entry)
    end
  end
end
for place = 2, #ARGV, 3 do add(ARGV[place], ARGV[place + 1], ARGV[place + 2]) end

for first = 1, #new, at_once do
  redis.call('ZADD', key, unpack(new, first, math.min(first + at_once - 1, #new)))
end
redis.call('ZREMRANGEBYRANK', key, 0, -limit - 1)
if tonumber(ARGV[1]) > 0 then redis.call('EXPIRE', key, ARGV[1]) end
"""
)

LOAD: Command = ("SCRIPT", "LOAD", APPEND)
_APPEND_SHA = sha1(APPEND.encode(), usedforsecurity=False).hexdigest()


def append_command(
    user_id: str, events: Sequence[Event], members: Sequence[bytes], ttl_s: int = 0
) -> Command:
    """Append events to a user's; with none, just make a sorted set of what is there.

    Args:
        user_id: whose events they are.
        events: in order of arrival.
        members: of the sorted set, one for each event; see `encode_all_arrived`.
        ttl_s: seconds until all events of the user are removed, unless more come; 0: never.
    """
    arguments: list[str | bytes | int] = [ttl_s]
    for event, member in zip(events, members, strict=True):
        arguments += (
            f"{second_of(event.timestamp):.0f}",
            repr(float(event.timestamp)),
            member,
        )
    return ("EVALSHA", _APPEND_SHA, 1, keys.events_key(user_id), *arguments)
