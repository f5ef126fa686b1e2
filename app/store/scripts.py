"""What the store runs itself: appending to one user's events, in one step and one round trip.

An event whose identity (`Event.identity`: item and second) is there already is passed over, the
first report stays; what is more than the limit goes, oldest by time. A list, as stores of version
0.1 have it, becomes a sorted set first; entries that can't be read are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1

from app.store.connection import Command
from model_store import keys
from model_store.codecs import ITEM_ID_AT, Event, encode_arrived, second_of

APPEND = """
local key, limit, item_at = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local seen = {}

local function add(second, score, member)
  local items = seen[second]
  if not items then
    items = {}
    local others = redis.call('ZRANGEBYSCORE', key, second, string.format('(%.0f', second + 1))
    for _, other in ipairs(others) do items[string.sub(other, item_at)] = true end
    seen[second] = items
  end
  local item = string.sub(member, item_at)
  if not items[item] then
    redis.call('ZADD', key, score, member)
    items[item] = true
  end
end

if redis.call('TYPE', key).ok == 'list' then
  -- Answered with WRONGTYPE, but where writes are refused with that: before anything is deleted.
  local answer = redis.pcall('SETRANGE', key, 0, '')
  if not string.find(answer.err, 'WRONGTYPE', 1, true) then return answer end
  local entries = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for place, entry in ipairs(entries) do
    if #entry > 14 and string.sub(entry, 1, 2) == 'E1' then
      local time = struct.unpack('<d', entry, 3)
      if time == time and time >= 0 and time <= 1e11 then
        local second = string.format('%.0f', math.floor(time))
        add(second, string.format('%.17g', time), struct.pack('>I8', place) .. entry)
      end
    end
  end
end

for place = 3, #ARGV, 3 do add(ARGV[place], ARGV[place + 1], ARGV[place + 2]) end
redis.call('ZREMRANGEBYRANK', key, 0, -limit - 1)
"""

LOAD: Command = ("SCRIPT", "LOAD", APPEND)
_APPEND_SHA = sha1(APPEND.encode(), usedforsecurity=False).hexdigest()


def append_command(user_id: str, events: Sequence[Event], arrival_us: int) -> Command:
    """Append events to a user's; with none, just make a sorted set of what is there.

    Args:
        user_id: whose events they are.
        events: in order of arrival.
        arrival_us: when the first of them arrived, unix microseconds.
    """
    arguments: list[str | bytes] = []
    for place, event in enumerate(events):
        arguments += (
            f"{second_of(event.timestamp):.0f}",
            repr(float(event.timestamp)),
            encode_arrived(event, arrival_us + place),
        )
    key = keys.events_key(user_id)
    head = (str(keys.MAX_EVENTS_PER_USER), str(ITEM_ID_AT + 1))
    return ("EVALSHA", _APPEND_SHA, 1, key, *head, *arguments)
