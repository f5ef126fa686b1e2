"""The serving benchmark: `make bench`, or `python -m loadtest.bench`.

Starts the service and a bare FastAPI echo on one core, drives them from another, and measures in
sections: against the echo, the demo's bundle, history lengths, k, batches, knowledge, overload,
version swaps, a shadow, workers, exposures, a cluster, reranking, catalogues. Prints tables, and
one JSON document as the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from loadtest.bench.plan import FULL, QUICK, Plan
from loadtest.bench.rig import Rig
from loadtest.bench.sections import DONE, NAMES, QUICK_NAMES, choose_sections, run_sections
from loadtest.errors import LoadTestError, WorkloadError
from loadtest.results import describe_circumstances, write_results

# Kept figures are continued only where these are the same: else they'd mix two measurements.
SAME_RUN = ("commit", "mode", "bundle", "hardware")


def run_bench(
    plan: Plan, names: Sequence[str], *, bundle: Path | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Run sections; the figures, ready for JSON, also kept in `out` after each section.

    Raises:
        LoadTestError: a given file or bundle can't be used.
    """
    if bundle is not None and not (bundle / "manifest.json").exists():
        raise WorkloadError(f"{bundle} is not a bundle: it has no manifest.json")
    document = {
        "mode": plan.name,
        "bundle": "synthetic" if bundle is None else bundle.name,
        **describe_circumstances(),
    }
    if out is not None:
        document = kept_figures(out, document)
    with tempfile.TemporaryDirectory(prefix="longtail-bench-") as folder:
        rig = Rig(plan, Path(folder), given=bundle)
        document["pinned"] = rig.server_core is not None
        keep = partial(write_results, out) if out is not None else lambda _: None
        sections = choose_sections(plan, names)
        forget_when_complete(document, [section.name for section in sections])
        run_sections(sections, rig, document, keep)
    return document


def forget_when_complete(document: dict[str, Any], names: Sequence[str]) -> None:
    """Measure sections again where all requested ones were measured before."""
    states = document.get("sections", {})
    if all(states.get(name, {}).get("state") == DONE for name in names):
        for name in names:
            states.pop(name, None)


def kept_figures(out: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The document of an earlier run of the same measurement, else the new one.

    Raises:
        WorkloadError: the file is something else.
    """
    if not out.exists():
        return document
    try:
        kept: dict[str, Any] = json.loads(out.read_bytes())
        different = [name for name in SAME_RUN if kept[name] != document[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkloadError(f"{out} holds no figures of this benchmark ({error})") from error
    if different:
        print(
            f"{out} was measured with another {', '.join(different)}: starting again",
            file=sys.stderr,
        )
        return document
    return kept


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="bundle to measure, except where sections need their own; default: a synthetic one",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="SECTION",
        help=f"one of {', '.join(NAMES)}; may be repeated",
    )
    parser.add_argument(
        "--items",
        action="append",
        type=int,
        metavar="N",
        help="catalogue sizes in place of the usual ones; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="keep the figures there after each section; an interrupted run goes on from there",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        default=_is_set("QUICK"),
        help="two minutes, fewer sections, wider intervals; also QUICK=1",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    plan = QUICK if options.quick else FULL
    if options.items:
        plan = plan.with_sizes(options.items)
    names = options.only or (QUICK_NAMES if options.quick else NAMES)
    # A plain kill must end the servers too, so it takes the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = run_bench(plan, names, bundle=options.bundle, out=options.out)
    except LoadTestError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    print(json.dumps(figures, ensure_ascii=False), flush=True)
    return 1 if figures.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
