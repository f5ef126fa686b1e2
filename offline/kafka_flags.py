"""`longtail events to-kafka`, `from-kafka` and `leave-kafka`. Heavy imports wait for a command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.errors import ConfigError
from offline.kafka.names import brokers, check_group, check_topic
from offline.time_flag import seconds

if TYPE_CHECKING:
    from offline.kafka.access import Brokers
    from offline.kafka.to_kafka import Topics

_RAW = argparse.RawDescriptionHelpFormatter


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to those of `longtail events`."""
    _register_to(actions)
    _register_from(actions)
    _register_leave(actions)


def _register_to(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    to = actions.add_parser(
        "to-kafka",
        help="send events from the store's log to a Kafka topic",
        description="Send the events that services have accepted from the store's log to a Kafka\n"
        "topic, each at least once, one JSON message an event, with the user's id as its key.\n"
        "An archive gets them all the same: an entry leaves the store after both have it. Goes\n"
        "on until it is stopped, and can be killed at any time. Needs longtail[kafka].",
        epilog="examples:\n"
        "  longtail events to-kafka --brokers localhost:9092 --topic events\n"
        "  longtail events to-kafka --brokers k1:9093,k2:9093 --topic events --config kafka.toml",
        formatter_class=_RAW,
    )
    _add_access(to)
    to.add_argument("--topic", required=True, metavar="NAME", help="for the events")
    to.add_argument(
        "--exposures-topic",
        metavar="NAME",
        help="send what people were answered, too (see LONGTAIL_EXPOSURE_SHARE)",
    )
    to.add_argument(
        "--unreadable",
        type=Path,
        default=Path("kafka-unreadable.jsonl"),
        metavar="FILE",
        help="for entries of the log that can't be read (%(default)s)",
    )
    how_often = to.add_mutually_exclusive_group()
    how_often.add_argument(
        "--once", action="store_true", help="send what there is now, and end (for cron)"
    )
    how_often.add_argument(
        "--every",
        type=seconds,
        default=1.0,
        metavar="TIME",
        help="pause between two looks: 1s, 5m, 2h (1s)",
    )
    to.set_defaults(run=_run_to)


def _register_from(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    origin = actions.add_parser(
        "from-kafka",
        help="send events of a Kafka topic to a running service",
        description="Send the events of a Kafka topic to POST /events of a running service, each\n"
        "at least once; a repeat counts once there. A message is an event in JSON, as POST\n"
        "/events takes it. Offsets are committed after the service has accepted. Messages that\n"
        "are no events go into a file. Where callers need a key, it comes from\n"
        "LONGTAIL_CALLER_KEY. Needs longtail[kafka].",
        epilog="examples:\n"
        "  longtail events from-kafka --brokers localhost:9092 --topic clicks \\\n"
        "    --group longtail --url http://127.0.0.1:8000",
        formatter_class=_RAW,
    )
    _add_access(origin)
    origin.add_argument("--topic", required=True, metavar="NAME", help="to read")
    origin.add_argument(
        "--group",
        required=True,
        metavar="NAME",
        help="of consumers; several processes of one group share the partitions",
    )
    origin.add_argument("--url", required=True, help="of the service")
    origin.add_argument(
        "--dead-letters",
        type=Path,
        default=Path("dead-letters.jsonl"),
        metavar="FILE",
        help="for messages that are no events (%(default)s)",
    )
    origin.add_argument("--once", action="store_true", help="end with what is there now (for cron)")
    origin.set_defaults(run=_run_from)


def _register_leave(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    leave = actions.add_parser(
        "leave-kafka",
        help="keep nothing in the store's log for a topic any more",
        description="Say that `longtail events to-kafka` will not run for a topic any more. Until\n"
        "then the log keeps what the topic lacks, up to its limit.",
        epilog="examples:\n  longtail events leave-kafka --topic events",
        formatter_class=_RAW,
    )
    leave.add_argument("--topic", required=True, metavar="NAME", help="of the events")
    leave.add_argument("--exposures-topic", metavar="NAME", help="of the exposures")
    leave.set_defaults(run=_run_leave)


def _add_access(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--brokers",
        type=brokers,
        required=True,
        metavar="HOST:PORT[,HOST:PORT]",
        help="some of the cluster's",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML with security_protocol, sasl_mechanism, username, password, ca_file, "
        "cert_file, key_file, key_password (default: PLAINTEXT)",
    )


def _brokers_of(arguments: argparse.Namespace) -> Brokers:
    from offline.kafka.access import Brokers, read_credentials

    return Brokers(arguments.brokers, read_credentials(arguments.config))


def _topics_of(arguments: argparse.Namespace) -> Topics:
    from offline.kafka.to_kafka import Topics

    exposures = arguments.exposures_topic
    events = check_topic("--topic", arguments.topic)
    if exposures is not None and check_topic("--exposures-topic", exposures) == events:
        raise ConfigError(f"--exposures-topic {exposures}: is that of the events; name another")
    return Topics(events, exposures)


def _run_to(arguments: argparse.Namespace) -> int:
    from offline.kafka.to_kafka import to_kafka

    topics = _topics_of(arguments)
    every_s = None if arguments.once else arguments.every
    to_kafka(_brokers_of(arguments), topics, arguments.unreadable, every_s=every_s)
    return 0


def _run_from(arguments: argparse.Namespace) -> int:
    from offline.kafka.from_kafka import Source, from_kafka

    source = Source(check_topic("--topic", arguments.topic), check_group(arguments.group))
    from_kafka(
        _brokers_of(arguments),
        source,
        arguments.url,
        arguments.dead_letters,
        is_once=arguments.once,
    )
    return 0


def _run_leave(arguments: argparse.Namespace) -> int:
    from offline.kafka.to_kafka import leave_kafka

    there = leave_kafka(_topics_of(arguments))
    print("nothing is kept for it any more" if there else "nothing was kept for it")
    return 0
