"""The generator's process: `python -m offline.alignment.generator`, started by the trainer."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model_store.errors import LongtailError
from offline.alignment.experience import Sampler
from offline.alignment.generation import Generation
from offline.alignment.queue import ExperienceQueue
from offline.alignment.snapshots import Snapshots

if TYPE_CHECKING:
    from offline.alignment.config import AlignmentConfig

QUEUE, SNAPSHOTS = "queue", "snapshots"
_LOOK_S = 0.02


def generator_flags(folder: Path, config: AlignmentConfig) -> list[str]:
    """Flags of the process that are the same for every sampler.

    Args:
        folder: holds the queue and the snapshots.
        config: settings.
    """
    return [
        *("--folder", str(folder)),
        *("--queue-size", str(config.queue_size)),
        *("--last", str(config.steps)),
        *("--seed", str(config.seed)),
    ]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Make a parser read `generator_flags`."""
    parser.add_argument("--folder", type=Path, required=True, help="of queue and snapshots")
    parser.add_argument("--queue-size", type=int, required=True, help="batches that wait")
    parser.add_argument("--last", type=int, required=True, help="number of the last batch")
    parser.add_argument("--seed", type=int, required=True)


def run_generator(flags: argparse.Namespace, open_sampler: Callable[[], Sampler]) -> NoReturn:
    """Generate until the trainer ends, however that happens.

    A fault that a person can mend is one line on stderr.

    Args:
        flags: see `add_flags`.
        open_sampler: called once the trainer is watched, since it may take long.
    """
    # A Ctrl-C ends the trainer, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    queue = ExperienceQueue(flags.folder / QUEUE, flags.queue_size)
    snapshots = Snapshots(flags.folder / SNAPSHOTS)
    try:
        with queue.writing():
            sampler = open_sampler()
            generation = Generation(sampler, queue, snapshots, seed=flags.seed, last=flags.last)
            while True:
                if not generation.step():
                    time.sleep(_LOOK_S)
    except LongtailError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def main() -> NoReturn:
    """Generate with the models of an alignment."""
    parser = argparse.ArgumentParser(prog="offline.alignment.generator", description=__doc__)
    add_flags(parser)
    parser.add_argument("--work", type=Path, required=True, help="the alignment's working folder")
    parser.add_argument("--cache", type=Path, required=True, help="of downloads")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], required=True)
    flags = parser.parse_args()

    def open_sampler() -> Sampler:
        from offline.alignment.processes import open_sampler

        return open_sampler(flags.work, flags.cache, flags.device)

    run_generator(flags, open_sampler)


def _end_with_parent() -> NoReturn:
    """End at once when the trainer has ended: standard input is a pipe from it."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
