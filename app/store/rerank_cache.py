"""The reranker's answers in the store: shared by all workers, bounded in number and in age.

A cache: where the store is away or a value is damaged, there is no answer and no error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha1

from app.store.client import StoreClient
from app.store.connection import Command
from app.store.state import trouble_in
from model_store import keys
from model_store.error_replies import explain
from model_store.errors import StoreError
from model_store.forgotten import digest_of_user
from model_store.rerank_codec import CachedAnswer, decode_answer, encode_answer

log = logging.getLogger(__name__)

# Answers that one write removes at most, so that a lowered limit holds up no request.
MAX_REMOVED = 100

_CITES_FORGOTTEN = 2
# An answer of a version that was retired meanwhile is not written: its keys are gone. Neither is
# one that cites a person who was forgotten while it was made; it may come again without that. Where
# the store evicted only one of the two keys, both begin anew, as answers without a time would stay.
WRITE = f"""
local models, answers, times, forgotten = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local version, digest, answer = ARGV[1], ARGV[2], ARGV[3]
local now_s, max_age_s, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local cited = ARGV[7]
if redis.call('HEXISTS', models, version) == 0 then return 0 end
if cited ~= '' and redis.call('ZSCORE', forgotten, cited) then return {_CITES_FORGOTTEN} end
if redis.call('HLEN', answers) ~= redis.call('ZCARD', times) then
  redis.call('UNLINK', answers, times)
end
redis.call('HSET', answers, digest, answer)
redis.call('ZADD', times, now_s, digest)
local function remove(old)
  if #old > 0 then
    redis.call('HDEL', answers, unpack(old))
    redis.call('ZREM', times, unpack(old))
  end
end
remove(redis.call('ZRANGEBYSCORE', times, '-inf', now_s - max_age_s, 'LIMIT', 0, {MAX_REMOVED}))
local n_over = redis.call('ZCARD', times) - limit
if n_over > 0 then remove(redis.call('ZRANGE', times, 0, math.min(n_over, {MAX_REMOVED}) - 1)) end
redis.call('EXPIRE', answers, max_age_s)
redis.call('EXPIRE', times, max_age_s)
return 1
"""
_LOAD: Command = ("SCRIPT", "LOAD", WRITE)
_WRITE_SHA = sha1(WRITE.encode(), usedforsecurity=False).hexdigest()


class RerankCache:
    """Answers by version and digest.

    Args:
        requests: for what requests wait for.
        background: for writes, which no request waits for.
    """

    def __init__(self, requests: StoreClient, background: StoreClient) -> None:
        self._requests = requests
        self._background = background
        self._is_logged = False

    async def read(
        self, version: str, digests: Sequence[bytes], limit_s: float
    ) -> list[CachedAnswer | None]:
        """The answers, None for each that isn't there in time; one round trip for all.

        Args:
            version: of all of them.
            digests: at least one, from `rerank_codec.digest_of`.
            limit_s: longest wait; the store's own limit holds as well.
        """
        try:
            [values] = await self._requests.ask(
                ("HMGET", keys.rerank_key(version), *digests), limit_s=limit_s
            )
        except StoreError:
            return [None] * len(digests)
        return [_read(value) for value in values]

    async def write(
        self,
        version: str,
        digest: bytes,
        answer: CachedAnswer,
        *,
        max_age_s: int,
        max_entries: int,
    ) -> bool:
        """Keep an answer; whether it is in the store now.

        Args:
            version, digest: what it answers.
            answer: to be kept.
            max_age_s, max_entries: limits on the version's answers; the oldest go.
        """
        limits = (answer.written_s, max_age_s, max_entries)
        try:
            reply = await self._write(version, digest, answer, limits)
            if reply == _CITES_FORGOTTEN:
                unsigned = replace(answer, similar_user=None)
                reply = await self._write(version, digest, unsigned, limits)
        except StoreError:
            return False
        if isinstance(reply, Exception):
            if not self._is_logged and trouble_in(reply) is None:
                self._is_logged = True
                log.warning("the reranker's answers can't be cached: %s", explain(str(reply)))
            return False
        return bool(reply)

    async def _write(
        self, version: str, digest: bytes, answer: CachedAnswer, limits: tuple[int, ...]
    ) -> object:
        cited = b"" if answer.similar_user is None else digest_of_user(answer.similar_user)
        command: Command = (
            *("EVALSHA", _WRITE_SHA, 4, keys.MODELS),
            *(keys.rerank_key(version), keys.rerank_times_key(version), keys.FORGOTTEN),
            *(version, digest, encode_answer(answer)),
            *limits,
            cited,
        )
        [reply] = await self._background.call_script(_LOAD, [command])
        return reply


def _read(value: bytes | None) -> CachedAnswer | None:
    if value is None:
        return None
    try:
        return decode_answer(value)
    except StoreError:
        return None
