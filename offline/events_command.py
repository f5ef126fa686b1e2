"""`longtail events`: what services accepted. Heavy imports wait for a command."""

from __future__ import annotations

import argparse
from pathlib import Path

from offline import kafka_flags
from offline.time_flag import seconds

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `longtail events`."""
    events = subparsers.add_parser(
        "events",
        help="archive the events that services accepted, or exchange events with Kafka",
        description="Events of POST /events, and what people were answered, for the next training\n"
        "and for others.",
        epilog="examples:\n"
        "  longtail events archive --out events\n"
        "  longtail events to-kafka --brokers localhost:9092 --topic events",
        formatter_class=_RAW,
    )
    actions = events.add_subparsers(dest="action", required=True, metavar="ACTION")
    archive = actions.add_parser(
        "archive",
        help="move events from the store into Parquet files by day, each once",
        description="Move the events that services have accepted from the store's log into\n"
        "Parquet files, one folder a day (UTC) of the event's time. Each event is there once,\n"
        "however often it was reported; what people did before they were forgotten is removed.\n"
        "Goes on until it is stopped, and can be killed at any time: an event leaves the store\n"
        "after it is on the disk.",
        epilog="examples:\n"
        "  longtail events archive --out events\n"
        "  longtail events archive --out events --once",
        formatter_class=_RAW,
    )
    archive.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the archive")
    archive.add_argument(
        "--exposures",
        type=Path,
        metavar="FOLDER",
        help="archive what people were answered, too (see LONGTAIL_EXPOSURE_SHARE)",
    )
    how_often = archive.add_mutually_exclusive_group()
    how_often.add_argument(
        "--once", action="store_true", help="move what there is now, and end (for cron)"
    )
    how_often.add_argument(
        "--every",
        type=seconds,
        default=60.0,
        metavar="TIME",
        help="pause between two looks: 30s, 5m, 2h (60s)",
    )
    archive.set_defaults(run=_run_archive)
    kafka_flags.register(actions)


def _run_archive(arguments: argparse.Namespace) -> int:
    from offline.event_archive.command import archive

    archive(arguments.out, arguments.exposures, every_s=None if arguments.once else arguments.every)
    return 0
