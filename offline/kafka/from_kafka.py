"""`longtail events from-kafka`: from a topic to a service, at least once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from offline.kafka.access import Brokers, KafkaAway, check_installed
from offline.kafka.dead_letters import DeadLetters
from offline.kafka.messages import Unreadable, read_event
from offline.kafka.service import MAX_BYTES, MAX_EVENTS, EventsEndpoint
from offline.kafka.writer import Stopped
from offline.progress import Progress, announce
from offline.stopping import until_stopped

_LOOK_S = 0.2
_PATIENCE_S = 60.0
_GRACE_S = 5.0
Result = TypeVar("Result")
Records = Sequence[Any]


@dataclass(frozen=True)
class Source:
    """A topic, and the group of consumers that reads it."""

    topic: str
    group: str


def from_kafka(
    brokers: Brokers, source: Source, url: str, dead_letters: Path, *, is_once: bool
) -> None:
    """Send a topic's events to a service, until SIGINT or SIGTERM.

    Args:
        brokers: that have the topic.
        source: what to read; a new group begins with the oldest message.
        url: of the service.
        dead_letters: file for messages that are no events, or that the service rejects.
        is_once: end with what was there at the beginning. A service that takes nothing is waited
            for a minute then, and for ever otherwise.

    Raises:
        ConfigError: aiokafka is not installed, or the URL, the key or a certificate can't be used.
        KafkaAway: the brokers can't be reached, have no such topic, or reject the group.
        InputError: the service can't be reached, or takes no events.
    """
    check_installed()
    letters = DeadLetters(dead_letters)
    with until_stopped() as stopped:
        reading = _Reading(brokers, source, letters, stopped.is_set)
        with contextlib.suppress(Stopped):
            asyncio.run(reading.run(url, is_once=is_once))
        unreadable = f", {letters.n:,} unreadable in {dead_letters}" if letters.n else ""
        print(f"{reading.n_accepted:,} events of {source.topic} accepted{unreadable}")


class _Reading:
    """A reader of a topic.

    Attributes:
        n_accepted: events that the service has.
    """

    def __init__(
        self,
        brokers: Brokers,
        source: Source,
        letters: DeadLetters,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._brokers, self._source, self._letters = brokers, source, letters
        self._is_stopped = is_stopped
        self._consumer: Any = None
        self._is_assigned = asyncio.Event()
        self.n_accepted = 0

    async def run(self, url: str, *, is_once: bool) -> None:
        """As `from_kafka`."""
        from aiokafka import AIOKafkaConsumer

        patience_s = _PATIENCE_S if is_once else None
        async with EventsEndpoint(url, self._is_stopped, patience_s) as endpoint:
            self._consumer = AIOKafkaConsumer(
                **self._brokers.options(),
                group_id=self._source.group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            try:
                await self._join()
                with Progress(f"reading {self._source.topic}", None, "messages") as progress:
                    await self._read(endpoint, progress, is_once=is_once)
            finally:
                # What is not committed is read again by the next one.
                await asyncio.wait([asyncio.ensure_future(self._consumer.stop())], timeout=_GRACE_S)

    async def _join(self) -> None:
        with self._brokers.errors("Kafka"):
            await self._ask(self._consumer.start())
            known = await self._ask(self._consumer.topics())
        topic = self._source.topic
        if topic not in known:
            raise KafkaAway(f"topic {topic!r}: {self._brokers.addresses} has none of this name")
        self._consumer.subscribe([topic], listener=_listener(self._is_assigned.set))

    async def _read(self, endpoint: EventsEndpoint, progress: Progress, *, is_once: bool) -> None:
        ends: dict[Any, int] = {}
        with self._brokers.errors(f"topic {self._source.topic!r}"):
            while True:
                if self._is_stopped():
                    raise Stopped
                found = await self._consumer.getmany(
                    timeout_ms=round(_LOOK_S * 1e3), max_records=MAX_EVENTS
                )
                if found:
                    await self._deliver(found, endpoint, progress)
                if is_once and await self._is_at(ends):
                    return

    async def _is_at(self, ends: dict[Any, int]) -> bool:
        """Whether all that was there has been read; `ends` are filled when partitions are known."""
        assigned = self._consumer.assignment()
        if not assigned:
            return self._is_assigned.is_set()  # others of the group have all partitions
        if missing := assigned - ends.keys():
            ends |= await self._ask(self._consumer.end_offsets(missing))
        for partition in assigned:
            if await self._ask(self._consumer.position(partition)) < ends[partition]:
                return False
        return True

    async def _deliver(
        self, found: Mapping[Any, Records], endpoint: EventsEndpoint, progress: Progress
    ) -> None:
        """Have the service take messages, and commit then."""
        from aiokafka.errors import CommitFailedError, IllegalStateError

        records = [record for of_partition in found.values() for record in of_partition]
        events: list[tuple[Any, bytes]] = []
        for record in records:
            try:
                events.append((record, read_event(record.value, record.timestamp)))
            except Unreadable as error:
                self._letters.add(record, str(error))
        for part in _parts(events):
            rejected = await endpoint.post([event for _, event in part])
            for place, reason in sorted(rejected.items()):
                self._letters.add(part[place][0], reason)
            self.n_accepted += len(part) - len(rejected)
        offsets = {partition: rows[-1].offset + 1 for partition, rows in found.items()}
        try:
            await self._ask(self._consumer.commit(offsets))
        except (CommitFailedError, IllegalStateError):
            announce(
                "longtail events: the group gave our partitions to others meanwhile; "
                "some messages are read twice"
            )
        progress.advance(len(records), note=f"{self._n_behind(offsets):,} behind")

    def _n_behind(self, offsets: Mapping[Any, int]) -> int:
        """How many messages the brokers have after these offsets, as far as is known."""
        highs = {one: self._consumer.highwater(one) for one in offsets}
        return sum(max(0, (highs[one] or offset) - offset) for one, offset in offsets.items())

    async def _ask(self, asked: Awaitable[Result]) -> Result:
        """The brokers' answer; while they are away, a person can still end the command."""
        answer = asyncio.ensure_future(asked)
        started_s = time.monotonic()
        is_said = False
        try:
            while not answer.done():
                await asyncio.wait([answer], timeout=_LOOK_S)
                waited_s = time.monotonic() - started_s
                if self._is_stopped() and waited_s > _GRACE_S:
                    raise Stopped
                if not is_said and waited_s > 2 * _GRACE_S and not answer.done():
                    where = self._brokers.addresses
                    announce(f"longtail events: {where}: Kafka does not answer; waiting")
                    is_said = True
            return answer.result()
        finally:
            answer.cancel()


def _parts(events: Sequence[tuple[Any, bytes]]) -> list[list[tuple[Any, bytes]]]:
    """The events in requests that the service takes."""
    parts: list[list[tuple[Any, bytes]]] = []
    n_bytes = 0
    for one in events:
        n_bytes += len(one[1])
        if not parts or n_bytes > MAX_BYTES or len(parts[-1]) == MAX_EVENTS:
            parts.append([])
            n_bytes = len(one[1])
        parts[-1].append(one)
    return parts


def _listener(on_assigned: Callable[[], object]) -> Any:
    """Calls something when the group has given out its partitions."""
    from aiokafka.abc import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
        def on_partitions_revoked(self, revoked: object) -> None: ...

        def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002 - its interface
            on_assigned()

    return Listener()
