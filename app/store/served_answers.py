"""Answers that a user got before, for requests that don't want them again."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

from app.store.client import StoreClient
from app.store.sessions import Sessions
from model_store.errors import StoreError
from model_store.served import ServedAnswer, decode_answers, keep_commands, read_command

log = logging.getLogger(__name__)


class ServedAnswers:
    """The last answers of users, in a list of the store for each.

    Args:
        client: for what requests wait for.
        sessions: the users whose lists have a time to live of their own.
    """

    def __init__(self, client: StoreClient, sessions: Sessions) -> None:
        self._client = client
        self._sessions = sessions

    async def read(
        self, user_ids: Sequence[str], ns_answers: Sequence[int], limit_s: float | None
    ) -> list[list[ServedAnswer] | None]:
        """The last answers of users, newest first; None for those that can't be read in time.

        Sent together with what else is asked in the same iteration of the event loop: one round
        trip.

        Args:
            user_ids: the users.
            ns_answers: how many answers of each.
            limit_s: longest wait; the store's own limit holds as well.
        """
        asked = zip(user_ids, ns_answers, strict=True)
        commands = [read_command(user_id, n) for user_id, n in asked]
        try:
            replies = await self._client.call(commands, limit_s)
        except StoreError:
            return [None] * len(user_ids)
        found: list[list[ServedAnswer] | None] = []
        for user_id, reply in zip(user_ids, replies, strict=True):
            answers = None
            with contextlib.suppress(StoreError):
                answers = None if isinstance(reply, Exception) else decode_answers(reply)
            if answers is None:
                log.debug("answers of user %r can't be read", user_id)
            found.append(answers)
        return found

    async def keep(self, answers: Sequence[tuple[str, Sequence[str]]]) -> bool:
        """Keep the items of answers by user; whether the store took them all."""
        now_s = int(time.time())
        commands = [
            command
            for user_id, item_ids in answers
            for command in keep_commands(
                user_id, ServedAnswer(now_s, tuple(item_ids)), self._sessions.ttl_of(user_id)
            )
        ]
        try:
            await self._client.ask(*commands)
        except StoreError:
            return False
        return True
