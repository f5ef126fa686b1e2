"""Load-test a running service with one command.

    python -m loadtest.run --url http://127.0.0.1:8000 --workload stored_users \\
        --rate 200 --duration 30 --max-p99-ms 20

Runs the locust file of that name headless, shows progress, prints a table, and writes the results
in JSON with an HTML report next to them. The exit code is 0 only when every threshold holds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtest.api import version_of, wait_until_ready
from loadtest.errors import LoadTestError, WorkloadError
from loadtest.hardware import ROOT
from loadtest.options import add_arguments, choose_n_users, spell_load_options
from loadtest.results import name_results, write_results
from loadtest.target import Address, parse_target
from loadtest.workload import (
    GUESSED_USERS,
    Workload,
    gather_service_workload,
    read_bundle_workload,
)

STARTUP_S = 60.0
MAX_SPAWNED_PER_S = 100  # locust's recommendation; the clock starts when all exist


def run_load_test(options: argparse.Namespace) -> int:
    """Run locust as a child and show its results; 0 when all thresholds hold.

    Raises:
        LoadTestError: the target must not get load or isn't ready, there is no workload, or the
            results can't be written.
    """
    address = parse_target(options.url, owned=options.i_own_this_host)
    out = (options.out or name_results(options.workload)).absolute()
    _check_writable(out)
    # What is a file of the person's is read before anything is waited for.
    workload = None
    if options.workload_file is not None:
        workload = Workload.load(options.workload_file)
    elif options.bundle is not None:
        workload = read_bundle_workload(options.bundle)
    ready = wait_until_ready(address)
    workload = workload or find_workload(address, version_of(ready))
    check_workload(options.workload, workload)
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="longtail-loadtest-") as folder:
        workload_file = options.workload_file
        if workload_file is None:
            workload_file = Path(folder) / "workload.json"
            workload.save(workload_file)
            print(f"workload: {workload.source}", file=sys.stderr)
        exit_code = _run_locust(options, workload_file.absolute(), out)
    if not out.exists():
        raise LoadTestError(f"locust ended with exit code {exit_code} and left no results")
    # A person repeats this command, not the child's.
    results = json.loads(out.read_bytes())
    write_results(out, {**results, "command": shlex.join(sys.orig_argv)})
    print(f"report: {os.path.relpath(out.with_suffix('.html'))}", file=sys.stderr)
    return exit_code


def _check_writable(out: Path) -> None:
    """Find out before the load that the results can be written; earlier ones stay.

    Raises:
        LoadTestError: they can't.
    """
    is_new = not out.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
        if is_new:
            out.unlink()
    except FileExistsError:
        raise LoadTestError(f"--out {out}: {out.parent} is no folder") from None
    except OSError as error:
        raise LoadTestError(f"--out {out}: {error.strerror}") from error


def find_workload(address: Address, version: str | None) -> Workload:
    """The workload of the served version's bundle, if its folder is here, else of answers."""
    bundle = None
    if version is not None:
        folder = Path(os.environ.get("LONGTAIL_BUNDLES_DIR") or "model_store/bundles") / version
        bundle = folder if (folder / "user_ids.json").exists() else None
    if bundle is not None:
        return read_bundle_workload(bundle)
    return gather_service_workload(address, GUESSED_USERS)


def check_workload(name: str, workload: Workload) -> None:
    """Reject a workload without the data that the locust file draws from.

    Raises:
        WorkloadError: no users, or no histories, where they are needed.
    """
    if name == "stored_users" and not workload.user_ids:
        raise WorkloadError(
            f"{workload.source}: no users with a history are known; give --bundle or a file of "
            "python -m loadtest.workload --users"
        )
    if name == "stateless" and not workload.histories:
        raise WorkloadError(f"{workload.source}: no histories are known; give --bundle")


def _run_locust(options: argparse.Namespace, workload_file: Path, out: Path) -> int:
    n_users = options.users or choose_n_users(options.rate)
    command = [
        *(sys.executable, "-m", "locust", "--headless", "--only-summary"),
        *("--loglevel", "WARNING"),
        *("--locustfile", str(Path(__file__).with_name(f"{options.workload}.py"))),
        *("--host", options.url.rstrip("/")),
        *("--users", str(n_users), "--spawn-rate", str(min(n_users, MAX_SPAWNED_PER_S))),
        *("--html", str(out.with_suffix(".html"))),
        *("--workload-file", str(workload_file), "--out", str(out)),
        *spell_load_options(options),
    ]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        return child.wait(timeout=STARTUP_S + 2 * options.duration + 60)
    except KeyboardInterrupt:
        return child.wait(timeout=30)  # it got the Ctrl-C too, and still writes its results
    except subprocess.TimeoutExpired as error:
        raise LoadTestError("locust did not end in time and was stopped") from error
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a load test; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return run_command(parser.parse_args(arguments))


def run_command(options: argparse.Namespace, name: str = "loadtest") -> int:
    """Run with parsed options; an error of the person's is one line on stderr, after a name."""
    try:
        return run_load_test(options)
    except LoadTestError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
