"""How long `longtail recommend-all` takes, against nothing but the matrix product it contains.

`python -m tests.end_to_end.recommend_all_speed --items 100000 --users 50000` runs the command and
the bare product alternately, and prints both and their ratio, by the clock and, as other work on
the machine delays either, by CPU time. The command includes its start. The bundle is synthetic: a
random network (SASRec, D 64, 2 layers), and histories of 5, 20, 50 and 200 items.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median

import numpy as np

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.files import save_array, write_atomically
from offline.engine.local import count_cores
from offline.synthetic.__main__ import make

DISTINCT = 1_000
"""Users of the synthetic bundle; of more users every one so many has the same history."""
LINE = re.compile(r"recommended .* users/s, processes: \d+, of at most ([\d,]+) MB")
# Blocks that keep the scores in the caches, and blocks of whole rows: the faster one counts.
PRODUCT = """
import sys, time
import numpy as np
table, n_users, width = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
users = np.random.default_rng(0).standard_normal((n_users, table.shape[1]), dtype=np.float32)
scores = np.empty((256, width), dtype=np.float32)
started_s, before_s = time.perf_counter(), time.process_time()
for start in range(0, n_users, 256):
    some = users[start:start + 256]
    for first in range(1, len(table), width):
        rows = table[first:first + width]
        np.matmul(some, rows.T, out=scores[:len(some), :len(rows)])
print(time.perf_counter() - started_s, time.process_time() - before_s)
"""


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and of CPU."""

    clock_s: float
    cpu_s: float


def make_users(made: Bundle, n_users: int, folder: Path) -> Bundle:
    """The bundle with so many users, whose histories are those of its own users again and again."""
    own = made.histories()
    rows = np.arange(n_users) % len(own.user_ids)
    lengths = np.diff(own.offsets)[rows]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - own.offsets[rows], lengths)
    ids = json.dumps([f"u{number}" for number in range(1, n_users + 1)]).encode()
    with BundleWriter(folder) as writer:
        for name in set(made.manifest.files) - set(files.USERS):
            writer.add(name, made.folder / name)
        writer.write(files.USER_IDS, lambda path: write_atomically(path, ids))
        writer.write(files.USER_OFFSETS, lambda path: save_array(path, offsets.astype(np.int64)))
        writer.write(files.USER_ITEMS, lambda path: save_array(path, own.items[places]))
        writer.write(files.USER_TIMESTAMPS, lambda path: save_array(path, own.timestamps[places]))
        fields = made.manifest.model_dump(exclude={"files", "schema_version", "n_users"})
        return writer.finish(n_users=n_users, **fields)


def time_command(bundle: Bundle, out: Path, k: int, processes: int) -> tuple[Taken, float]:
    """Time of the whole command, start and all, and MB of a process at most."""
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "longtail", "recommend-all", "--bundle", str(bundle.folder), "--k", str(k)]
    command += ["--processes", str(processes), "--out", str(out)]
    started_s, before_s = time.perf_counter(), cpu_of_children()
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    taken = Taken(time.perf_counter() - started_s, cpu_of_children() - before_s)
    print(done.stdout, flush=True)
    found = LINE.search(done.stdout)
    assert found, done.stdout
    return taken, float(found[1].replace(",", ""))


def cpu_of_children() -> float:
    """Seconds of CPU of children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_product(bundle: Bundle, n_users: int, processes: int) -> Taken:
    """Time of the product alone, on as many threads: of the faster of two ways to block it."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(processes)}
    found = []
    for width in (4_096, bundle.manifest.n_items):
        table = str(bundle.folder / files.ITEM_TABLE)
        command = [sys.executable, "-c", PRODUCT, table, str(n_users), str(width)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found.append(Taken(*map(float, done.stdout.split())))
    return min(found, key=attrgetter("clock_s"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=count_cores())
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make(
            chosen.items,
            0,
            folder / "made",
            trained=False,
            knowledge=False,
            exact_up_to=chosen.items,
        )
        bundle = make_users(Bundle.open(path), chosen.users, folder / "bundle")
        commands, products, peaks = [], [], []
        for _ in range(chosen.rounds):
            products.append(time_product(bundle, chosen.users, chosen.processes))
            taken, peak = time_command(bundle, folder / "out", chosen.k, chosen.processes)
            commands.append(taken)
            peaks.append(peak)
            print(f"command {taken}, product {products[-1]}", flush=True)
    pairs = [*zip(commands, products, strict=True)]
    result = {
        "items": chosen.items,
        "users": chosen.users,
        "k": chosen.k,
        "processes": chosen.processes,
        "command_s": [round(one.clock_s, 1) for one in commands],
        "product_s": [round(one.clock_s, 1) for one in products],
        "command_cpu_s": [round(one.cpu_s, 1) for one in commands],
        "product_cpu_s": [round(one.cpu_s, 1) for one in products],
        "scored_pairs_s": round(
            chosen.users * chosen.items / median(one.cpu_s for one in commands)
        ),
        "users_per_s": round(chosen.users / median(one.clock_s for one in commands)),
        "ratio": round(median(a.clock_s / b.clock_s for a, b in pairs), 2),
        "cpu_ratio": round(median(a.cpu_s / b.cpu_s for a, b in pairs), 2),
        "process_mb": max(peaks),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
