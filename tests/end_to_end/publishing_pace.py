"""How long it takes to write users' histories into a cluster of six processes, in three ways.

`python -m tests.end_to_end.publishing_pace --users 100000 --rounds 3` alternates: one process that
sends to a node after the other, one that sends to all nodes at once (as `longtail publish` does),
and several of these (`longtail publish --processes`). Prints a JSON line for each, with the
fastest and the slowest of the rounds: users a second by the clock, CPU seconds of the processes
that write, and of the servers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from model_store import cluster_client
from model_store.bundle import Bundle
from model_store.publication import write_users
from model_store.store import connect
from model_store.store_url import StoreUrl
from offline.engine.local import LocalEngine
from offline.publish_users import write_on
from offline.synthetic.__main__ import make
from tests.end_to_end.recommend_all_speed import make_users
from tests.redis_servers import Cluster, cluster

N_ITEMS = 3_700


class OneAfterAnother:
    """In place of a pool of threads: does the work when it is submitted."""

    def __init__(self, _n_threads: int) -> None: ...

    def __enter__(self) -> OneAfterAnother:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return mock.Mock(result=mock.Mock(return_value=work(*arguments)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LONGTAIL_CACHE_DIR"] = str(folder / "cache")
        path = make(
            N_ITEMS, 0, folder / "made", trained=False, knowledge=False, exact_up_to=N_ITEMS
        )
        bundle = make_users(Bundle.open(path), chosen.users, folder / "users")
        with cluster(folder / "cluster") as nodes:
            ways = {
                "one node after another": partial(here, bundle, nodes.url, in_turn=True),
                "all nodes at once": partial(here, bundle, nodes.url, in_turn=False),
                f"{chosen.processes} processes": partial(
                    in_processes, bundle, nodes.url, chosen.processes
                ),
            }
            taken: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
            for _ in range(chosen.rounds):
                for way, write in ways.items():
                    taken[way].append(timed(write, nodes))
        for way, rounds in taken.items():
            print(json.dumps({"way": way, **described(rounds, chosen.users)}), flush=True)


def here(bundle: Bundle, url: str, *, in_turn: bool) -> None:
    pool = OneAfterAnother if in_turn else cluster_client.ThreadPoolExecutor
    with mock.patch.object(cluster_client, "ThreadPoolExecutor", pool), connect(url) as client:
        for _ in write_users(bundle.version, bundle.interactions(), client):
            pass


def in_processes(bundle: Bundle, url: str, processes: int) -> None:
    write_on(LocalEngine(processes), StoreUrl.parse(url), bundle, lambda *_: None)


def timed(write: Callable[[], None], nodes: Cluster) -> tuple[float, float, float]:
    """Seconds by the clock, and of CPU: of those who write, and of the servers."""
    servers = [psutil.Process(node.process.pid) for node in nodes.nodes if node.process]

    def used() -> tuple[float, float, float]:
        own = sum(os.times()[:4])
        return time.perf_counter(), own, sum(sum(one.cpu_times()[:2]) for one in servers)

    before = used()
    write()
    wall_s, own_s, servers_s = (after - first for after, first in zip(used(), before, strict=True))
    return wall_s, own_s, servers_s


def described(rounds: Sequence[tuple[float, ...]], n_users: int) -> dict[str, list[float]]:
    walls, own, servers = ([one[place] for one in rounds] for place in range(3))
    return {
        "users_s": [round(n_users / max(walls)), round(n_users / min(walls))],
        "cpu_s": [round(min(own), 1), round(max(own), 1)],
        "servers_cpu_s": [round(min(servers), 1), round(max(servers), 1)],
    }


if __name__ == "__main__":
    main()
