"""Writes messages to topics; a message counts as written once all in-sync replicas have it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from offline.kafka.access import Brokers, KafkaAway
from offline.kafka.messages import Message

_BATCH_BYTES = 128 * 1024
_GRACE_S = 5.0
_LOOK_S = 0.2


class Stopped(Exception):  # noqa: N818 - no error
    """A person has stopped the command; what was not confirmed is sent again by the next one."""


class TopicWriter:
    """A connection to brokers, for one thread; a context manager.

    Args:
        brokers: to connect to.
        topics: that are written to; made by brokers that do so by themselves.
        is_stopped: whether a person wants an end.

    Raises:
        KafkaAway: on entering, the brokers can't be reached, or have no such topic.
        ConfigError: a certificate can't be used.
    """

    def __init__(
        self, brokers: Brokers, topics: Sequence[str], is_stopped: Callable[[], bool]
    ) -> None:
        self._brokers = brokers
        self._topics = topics
        self._is_stopped = is_stopped
        self._runner = asyncio.Runner()
        self._producer: Any = None

    def __enter__(self) -> TopicWriter:
        try:
            self._runner.run(self._open())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Send messages, and wait until brokers have confirmed all of them.

        Raises:
            KafkaAway: some were not confirmed; any of them may be there.
            Stopped: a person wants an end, and brokers don't confirm.
        """
        self._runner.run(self._send(topic, messages))

    async def _open(self) -> None:
        from aiokafka import AIOKafkaProducer
        from aiokafka.errors import UnknownTopicOrPartitionError

        self._producer = AIOKafkaProducer(
            **self._brokers.options(), acks="all", max_batch_size=_BATCH_BYTES
        )
        with self._brokers.errors("Kafka"):
            await self._producer.start()
        for topic in self._topics:
            try:
                with self._brokers.errors(f"topic {topic!r}"):
                    await self._producer.partitions_for(topic)
            except KafkaAway as error:
                if isinstance(error.__cause__, UnknownTopicOrPartitionError):
                    raise KafkaAway(
                        f"topic {topic!r}: {self._brokers.addresses} neither has nor makes it; "
                        "create it"
                    ) from error
                raise

    async def _send(self, topic: str, messages: Sequence[Message]) -> None:
        if self._is_stopped():
            raise Stopped
        waiting: list[asyncio.Future[Any]] = []
        with self._brokers.errors(f"topic {topic!r}"):
            try:
                for one in messages:
                    sent = await self._producer.send(
                        topic, one.value, key=one.key, timestamp_ms=one.at_ms
                    )
                    waiting.append(sent)
            finally:
                # Also of an error half-way: nobody else would look at what becomes of the others.
                confirmed = asyncio.gather(*waiting)
            await self._wait(confirmed)

    async def _wait(self, confirmed: asyncio.Future[Any]) -> None:
        until_s = None
        while not confirmed.done():
            await asyncio.wait([confirmed], timeout=_LOOK_S)
            if until_s is None and self._is_stopped():
                until_s = time.monotonic() + _GRACE_S
            elif until_s is not None and time.monotonic() > until_s:
                confirmed.cancel()
                raise Stopped
        confirmed.result()

    def _close(self) -> None:
        try:
            if self._producer is not None:
                with contextlib.suppress(Exception):  # what is not confirmed will be sent again
                    self._runner.run(asyncio.wait_for(self._producer.stop(), _GRACE_S))
        finally:
            self._runner.close()
