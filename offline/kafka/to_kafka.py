"""`longtail events to-kafka`: from the store's logs to topics, at least once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from model_store.embedded import running_store
from model_store.errors import StoreAway
from model_store.event_log import log_keys
from model_store.exposure_log import exposure_keys
from model_store.log_groups import remove_group
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.event_archive.archiver import Log, Moved, events_to, exposures_to, move
from offline.kafka.access import Brokers, KafkaAway, check_installed
from offline.kafka.messages import Message, event_message, exposure_message
from offline.kafka.writer import Stopped, TopicWriter
from offline.progress import Progress, announce
from offline.stopping import until_stopped

_LONGEST_PAUSE_S = 30.0
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Topics:
    """Where events go, and perhaps exposures."""

    events: str
    exposures: str | None = None

    @property
    def names(self) -> list[str]:
        """Of all topics."""
        return [self.events] + ([] if self.exposures is None else [self.exposures])


def group_of(topic: str) -> str:
    """The group of readers of the log that sends to a topic."""
    return f"kafka:{topic}"


def to_kafka(brokers: Brokers, topics: Topics, unreadable: Path, *, every_s: float | None) -> None:
    """Send events, and perhaps exposures, from the store's logs to topics.

    Args:
        brokers: that have the topics.
        topics: their names.
        unreadable: file for entries of the logs that can't be read.
        every_s: pause between two looks, until SIGINT or SIGTERM; None: one look.

    Raises:
        ConfigError: aiokafka is not installed, or a certificate can't be used.
        KafkaAway: the brokers can't be reached, or have no such topic; where they went away since,
            that is waited for.
        StoreAway: the store can't be reached; where it is looked at again, that is waited for.
    """
    check_installed()
    sent = _Sent()
    with (
        until_stopped() as stopped,
        Progress(f"sending to Kafka ({', '.join(topics.names)})", None, "messages") as progress,
        running_store(store_url_from()) as url,
    ):
        client = connect(url)
        failures = 0
        while not stopped.is_set():
            try:
                with TopicWriter(brokers, topics.names, stopped.is_set) as writer:
                    sent.is_connected = True
                    logs = _logs(writer, topics, unreadable, sent, progress)
                    while not stopped.is_set():
                        for topic, log in logs:
                            sent.left_out(topic, move(client, log))
                        failures = 0
                        if every_s is None:
                            stopped.set()
                        else:
                            stopped.wait(every_s)
            except Stopped:
                break
            except (KafkaAway, StoreAway) as error:
                if every_s is None or not sent.is_connected:
                    raise
                announce(f"longtail events: {error}; trying again")
                stopped.wait(max(every_s, min(_LONGEST_PAUSE_S, 2.0 ** min(failures, 10))))
                failures += 1
    for topic in topics.names:
        print(sent.describe(topic))


def leave_kafka(topics: Topics) -> bool:
    """Have the logs keep nothing for topics any more; returns whether they did.

    Raises:
        StoreAway: the store can't be reached.
    """
    with running_store(store_url_from()) as url:
        client = connect(url)
        found = [remove_group(key, group_of(topics.events), client) for key in log_keys()]
        if topics.exposures is not None:
            group = group_of(topics.exposures)
            found += [remove_group(key, group, client) for key in exposure_keys()]
    return any(found)


@dataclass
class _Sent:
    """What became of the logs so far, by topic."""

    is_connected: bool = False
    n: Counter[str] = field(default_factory=Counter)
    n_forgotten: Counter[str] = field(default_factory=Counter)
    n_unreadable: Counter[str] = field(default_factory=Counter)

    def left_out(self, topic: str, moved: Moved) -> None:
        """Add what was not sent."""
        self.n_forgotten[topic] += moved.n_forgotten
        self.n_unreadable[topic] += moved.n_unreadable

    def describe(self, topic: str) -> str:
        """A line."""
        others = {
            "of persons who were forgotten": self.n_forgotten[topic],
            "unreadable": self.n_unreadable[topic],
        }
        left_out = "".join(f", {n:,} {which}" for which, n in others.items() if n)
        return f"sent {self.n[topic]:,} messages to {topic}{left_out}"


def _logs(
    writer: TopicWriter, topics: Topics, unreadable: Path, sent: _Sent, progress: Progress
) -> list[tuple[str, Log[Any]]]:
    """The logs by their topics."""

    def add_to(topic: str, message: Callable[[Kind], Message]) -> Callable[[Sequence[Kind]], int]:
        def add(found: Sequence[Kind]) -> int:
            if not found:
                return 0
            messages = [message(one) for one in found]
            writer.send(topic, messages)
            sent.n[topic] += len(messages)
            behind_s = max(0.0, time.time() - messages[-1].at_ms / 1e3)
            progress.advance(len(messages), note=f"{behind_s:,.0f} s behind")
            return len(messages)

        return add

    def forget(_: object) -> int:
        return 0  # what is in a topic is its operator's to remove

    add_events = add_to(topics.events, event_message)
    events = events_to(group_of(topics.events), add_events, forget, unreadable)
    logs: list[tuple[str, Log[Any]]] = [(topics.events, events)]
    if topics.exposures is not None:
        add_exposures = add_to(topics.exposures, exposure_message)
        shown = exposures_to(group_of(topics.exposures), add_exposures, forget, unreadable)
        logs.append((topics.exposures, shown))
    return logs
