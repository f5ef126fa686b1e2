"""How many machines a load takes, from measured constants.

    python -m loadtest.sizing --items 10000000 --users 500000000 --rps 200000

The constants are those of `docs/benchmarks/sizing.json`, each with the command that measures it;
`--constants` names a file with your machines' own. Prints the tables of `docs/scale.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import LoadTestError, WorkloadError
from loadtest.hardware import ROOT

CONSTANTS = ROOT / "docs" / "benchmarks" / "sizing.json"
GB = 1e9
VERSIONS = 2  # while a version replaces another, the store has what both need


@dataclass(frozen=True)
class Constant:
    """A measured figure.

    Attributes:
        value: in `unit`.
        unit: as a person reads it.
        what: it is of.
        command: measures it.
        measured: date and hardware.
        figure: its name in the JSON that the command prints last.
    """

    value: float
    unit: str
    what: str
    command: str
    measured: str
    figure: str = ""


@dataclass(frozen=True)
class Wanted:
    """A load, and the machines that it is to be spread over.

    Attributes:
        items: in the catalogue.
        users: with a stored history.
        rps: requests a second at the peak.
        events: sent for each request.
        history: interactions of a user that are trained on.
        busy: share of the cores that is used at the peak.
        cores: of a machine that serves, with a worker each.
        store_gb: memory that one primary of the store may hold.
        batch_cores: that train and recommend to all.
    """

    items: float = 10e6
    users: float = 500e6
    rps: float = 200e3
    events: float = 0.2
    history: float = 50
    busy: float = 0.5
    cores: int = 32
    store_gb: float = 50
    batch_cores: int = 64


@dataclass(frozen=True)
class Row:
    """One line of the plan: a quantity, its value and how it comes about."""

    what: str
    value: float
    unit: str
    how: str


def read_constants(path: Path) -> dict[str, Constant]:
    """The constants of a file by name.

    Raises:
        WorkloadError: it can't be read, or is no such file.
    """
    try:
        return {name: Constant(**found) for name, found in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WorkloadError(f"{path}: no constants can be read from it ({error})") from error


def plan(wanted: Wanted, constants: Mapping[str, Constant]) -> list[Row]:
    """What a load takes: serving, store, publishing, the loop.

    Raises:
        WorkloadError: a constant is missing.
    """

    def value(name: str) -> float:
        if name not in constants:
            raise WorkloadError(f"no constant {name!r}")
        return constants[name].value

    return [*_serving(wanted, value), *_store(wanted, value), *_batch(wanted, value)]


def _serving(wanted: Wanted, value: Callable[[str], float]) -> list[Row]:
    cpu_us = value("request_cpu_us") + wanted.events * value("event_cpu_us")
    cores = wanted.rps * cpu_us / 1e6 / wanted.busy
    machines = math.ceil(cores / wanted.cores)
    shared_gb = wanted.items * value("item_shared_bytes") / GB
    own_gb = wanted.items * value("item_worker_bytes") / GB
    return [
        Row("CPU time of a request with its events", cpu_us, "µs", "request + events × event"),
        Row("cores that serve", cores, "", f"rps × CPU time, {wanted.busy:.0%} busy"),
        Row("machines that serve", machines, "", f"{wanted.cores} cores each"),
        Row("a catalogue shared by a machine's workers", shared_gb, "GB", "items × shared bytes"),
        Row("a catalogue's part in each worker", own_gb, "GB", "items × worker's bytes"),
        Row(
            "memory of a machine that serves",
            (shared_gb + wanted.cores * own_gb) * VERSIONS,
            "GB",
            "shared + workers × own, for the version that comes and the one that goes",
        ),
    ]


def _store(wanted: Wanted, value: Callable[[str], float]) -> list[Row]:
    users_gb = wanted.users * value("user_bytes") * VERSIONS / GB
    cpu_us = value("request_store_cpu_us") + wanted.events * value("event_store_cpu_us")
    cores = wanted.rps * cpu_us / 1e6 / wanted.busy
    primaries = math.ceil(max(cores, users_gb / wanted.store_gb))
    traffic = value("request_to_store_bytes") + value("request_from_store_bytes")
    log_gb = wanted.rps * wanted.events * value("event_bytes") * 3_600 / GB
    return [
        Row("users in the store", users_gb, "GB", f"users × bytes, {VERSIONS} versions"),
        Row("cores of the store", cores, "", f"rps × its CPU time, {wanted.busy:.0%} busy"),
        Row("primaries", primaries, "", f"the larger of cores and GB / {wanted.store_gb:g}"),
        Row("servers with a replica each", 2 * primaries, "", "2 × primaries"),
        Row(
            "traffic to and from the store", wanted.rps * traffic / GB * 8, "Gbit/s", "rps × bytes"
        ),
        Row("events of an hour", log_gb, "GB", "the log, if nobody archives it"),
    ]


def _batch(wanted: Wanted, value: Callable[[str], float]) -> list[Row]:
    cores = wanted.batch_cores
    hours = 3_600.0 * cores
    interactions = wanted.users * wanted.history
    archivers = wanted.rps * wanted.events / value("archived_events_s")
    return [
        Row(
            "publishing all users",
            wanted.users / value("published_users_s") / 3_600,
            "h",
            "one process",
        ),
        Row(
            "recommending to all users",
            wanted.users * wanted.items / value("scored_pairs_s") / hours,
            "h",
            f"{cores} cores, the score of every item for every user",
        ),
        Row(
            "an epoch over all interactions",
            interactions / value("trained_interactions_s") / hours,
            "h",
            f"{cores} cores; a GPU was not measured",
        ),
        Row("archivers", archivers, "cores", "events a second / archived events a second"),
    ]


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def constants_table(constants: Mapping[str, Constant]) -> str:
    """The constants as a table."""
    return as_markdown(
        ["constant", "value", "of", "command", "figure", "measured"],
        [
            [
                f"`{name}`",
                f"{one.value:,g} {one.unit}",
                one.what,
                f"`{one.command}`",
                f"`{one.figure}`",
                one.measured,
            ]
            for name, one in constants.items()
        ],
    )


def plan_table(rows: Sequence[Row]) -> str:
    """A plan as a table, figures with two digits: constants are not known better."""
    return as_markdown(
        ["what", "figure", "from"],
        [[row.what, f"{_rounded(row.value):,g} {row.unit}".strip(), row.how] for row in rows],
    )


def _rounded(value: float, digits: int = 2) -> float:
    return float(f"{value:.{digits}g}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print constants and plan; exit code 2 where that can't be."""
    usual = Wanted()
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.sizing",
        description="How many machines a load takes, from measured constants.",
        epilog="example: python -m loadtest.sizing --items 1000000 --users 5e6 --rps 3000",
    )
    for name, text in (
        ("items", "in the catalogue"),
        ("users", "with a stored history"),
        ("rps", "requests a second at the peak"),
        ("events", "sent for each request"),
        ("history", "interactions of a user that are trained on"),
        ("busy", "share of the cores used at the peak"),
        ("cores", "of a machine that serves, a worker each"),
        ("store-gb", "memory that one primary of the store may hold"),
        ("batch-cores", "that train and recommend to all"),
    ):
        default = getattr(usual, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=_positive, default=default, metavar="N", help=f"{text} ({default:g})"
        )
    parser.add_argument("--constants", type=Path, default=CONSTANTS, metavar="FILE")
    options = vars(parser.parse_args(arguments))
    try:
        constants = read_constants(options.pop("constants"))
        options["cores"], options["batch_cores"] = (
            int(options["cores"]),
            int(options["batch_cores"]),
        )
        rows = plan(Wanted(**options), constants)
    except LoadTestError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(constants_table(constants), plan_table(rows), sep="\n\n")
    return 0


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
