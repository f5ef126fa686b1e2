"""How long `longtail recommend-all` takes, against nothing but the matrix product it contains.

`python -m tests.end_to_end.recommend_all_speed --items 100000 --users 50000` runs the command and
the bare product alternately, and prints both and their ratio. The bundle is synthetic, with a
random network (SASRec, D 64, 2 layers) and histories of 5, 20, 50 and 200 items.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
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
started_s = time.perf_counter()
for start in range(0, n_users, 256):
    some = users[start:start + 256]
    for first in range(1, len(table), width):
        rows = table[first:first + width]
        np.matmul(some, rows.T, out=scores[:len(some), :len(rows)])
print(time.perf_counter() - started_s)
"""


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


def time_command(bundle: Bundle, out: Path, k: int, processes: int) -> tuple[float, float]:
    """Seconds of the whole command, start and all, and MB of a process at most."""
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "longtail", "recommend-all", "--bundle", str(bundle.folder), "--k", str(k)]
    command += ["--processes", str(processes), "--out", str(out)]
    started_s = time.perf_counter()
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - started_s
    print(done.stdout, flush=True)
    found = LINE.search(done.stdout)
    assert found, done.stdout
    return seconds, float(found[1].replace(",", ""))


def time_product(bundle: Bundle, n_users: int, processes: int) -> float:
    """Seconds of the product alone, on as many threads: of the faster of two ways to block it."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(processes)}
    found = []
    for width in (4_096, bundle.manifest.n_items):
        table = str(bundle.folder / files.ITEM_TABLE)
        command = [sys.executable, "-c", PRODUCT, table, str(n_users), str(width)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found.append(float(done.stdout))
    return min(found)


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
            seconds, peak = time_command(bundle, folder / "out", chosen.k, chosen.processes)
            commands.append(seconds)
            peaks.append(peak)
            print(f"command {seconds:.1f} s, product {products[-1]:.1f} s", flush=True)
    result = {
        "items": chosen.items,
        "users": chosen.users,
        "k": chosen.k,
        "processes": chosen.processes,
        "command_s": [round(one, 1) for one in commands],
        "product_s": [round(one, 1) for one in products],
        "users_per_s": round(chosen.users / median(commands)),
        "ratio": round(median(a / b for a, b in zip(commands, products, strict=True)), 2),
        "process_mb": max(peaks),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
