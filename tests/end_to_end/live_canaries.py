"""Canaries, bad and good, of a running service, and how soon each is taken back.

`python -m tests.end_to_end.live_canaries --rate 200 2000 --runs 20` prints the figures. Each canary
answers a twentieth of the users for a while, others each time; requests come at random times.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from loadtest.client import Load, encode_post
from loadtest.pacing import Arrivals
from loadtest.target import Address
from model_store.bundle import Bundle
from model_store.id_map import IdMap
from model_store.publication import publish
from model_store.store import connect
from tests.app.running import Running, serving
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue, sequence_graph

PERCENT = 5
N_ITEMS, N_GOLDEN = 400, 4
N_USERS = 16_000
"""So many that the canary's twentieth hardly lacks those who had one item."""
COMMON = 5
"""Items that everybody had: the first ones."""
HAD = 20
"""Other items that a user had: so a twentieth of the users had each of them."""
FAULTY = 201
"""No golden request has it, nor has a history that a service tries while it loads a version."""
SLOW_SIZE, SLOW_PRODUCTS = 1_024, 8
N_CONNECTIONS = 32
LOOK_S = 0.1
LONGEST_S = 60.0
GOOD = "like the active one"
FIRST = "made-1"


@dataclass
class Trial:
    """What became of one canary.

    Attributes:
        seconds: from its first answers until it was taken back; None: it stayed.
        what: the newest entry of the audit.
    """

    seconds: float | None
    what: str


@dataclass
class Result:
    """All trials at one rate of requests.

    Attributes:
        trials: by kind of canary.
        statuses: of all answers.
    """

    trials: dict[str, list[Trial]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)


def catalogue() -> Catalogue:
    """The first four users, whose histories are the golden requests, never had FAULTY."""
    made = make_catalogue(N_ITEMS, n_users=0)
    random = np.random.default_rng(0)
    common, others = np.arange(1, COMMON + 1), np.arange(COMMON + 1, N_ITEMS + 1)
    without = others[others != FAULTY]
    histories = {}
    for n in range(1, N_USERS + 1):
        had = random.choice(without if n <= N_GOLDEN else others, HAD, replace=False)
        histories[f"u{n}"] = np.concatenate([common, had]).astype(np.int32)
    return replace(made, histories=histories)


def make_bundles(folder: Path) -> dict[str, Path]:
    """The active version's bundle, and one of each kind of canary."""
    made = catalogue()
    others = IdMap([f"other {item_id}" for item_id in made.ids.ids])
    few = make_catalogue(COMMON, n_users=N_GOLDEN, history_length=2)
    all_of_them = np.arange(1, COMMON + 1, dtype=np.int32)
    few.histories.update({f"u{n}": all_of_them for n in range(N_GOLDEN + 1, N_USERS + 1)})
    kinds: dict[str, tuple[Catalogue, onnx.ModelProto | None]] = {
        FIRST: (made, None),
        GOOD: (replace(made, table=make_catalogue(N_ITEMS, n_users=0, seed=8).table), None),
        "slow": (made, slow_graph()),
        "erring": (made, erring_graph()),
        "empty": (few, None),
        "another catalogue": (replace(make_catalogue(N_ITEMS, n_users=N_GOLDEN), ids=others), None),
    }
    return {
        kind: make_bundle(
            folder / kind, version=kind.replace(" ", "-"), catalogue=of, graph=graph
        ).folder
        for kind, (of, graph) in kinds.items()
    }


def slow_graph() -> onnx.ModelProto:
    """The usual graph, and products of large matrices that change nothing."""
    random = np.random.default_rng(0)
    size = make_catalogue(1, n_users=0).table.shape[1]
    shapes = {"widen": (size, SLOW_SIZE), "square": (SLOW_SIZE, SLOW_SIZE)}
    nodes = [
        helper.make_node("MatMul", ["user", "widen"], ["wide_0"]),
        *(
            helper.make_node("MatMul", [f"wide_{n}", "square"], [f"wide_{n + 1}"])
            for n in range(SLOW_PRODUCTS)
        ),
        helper.make_node("ReduceMean", [f"wide_{SLOW_PRODUCTS}"], ["unused"], axes=[1]),
    ]
    weights = [
        numpy_helper.from_array((random.normal(size=shape) / shape[0]).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    return extended(nodes, weights)


def erring_graph() -> onnx.ModelProto:
    """The usual graph, and one that fails for whoever had FAULTY: it reads outside of a table."""
    nodes = [
        helper.make_node("Equal", ["history", "faulty"], ["is_faulty"]),
        helper.make_node("Cast", ["is_faulty"], ["row"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["one_row", "row"], ["looked_up"], axis=0),
        helper.make_node("ReduceMean", ["looked_up"], ["unused"], axes=[1]),
    ]
    weights = [
        numpy_helper.from_array(np.array(FAULTY, np.int64), "faulty"),
        numpy_helper.from_array(np.zeros(1, np.float32), "one_row"),
    ]
    return extended(nodes, weights)


def extended(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    """The usual graph and some nodes, whose `unused` [B, 1] is too small to change a score."""
    model = sequence_graph()
    graph = model.graph
    for node in graph.node:
        if node.output[0] == "scores":
            node.output[0] = "usual_scores"
    change = helper.make_node("Mul", ["unused", "tiny"], ["change"])
    changed = helper.make_node("Add", ["usual_scores", "change"], ["scores"])
    graph.node.extend([*nodes, change, changed])
    graph.initializer.extend(
        [*weights, numpy_helper.from_array(np.array(1e-30, np.float32), "tiny")]
    )
    onnx.checker.check_model(model)
    return model


def run(folder: Path, rate_rps: float, runs: int, good_s: float) -> Result:
    """Try each kind of canary so many times, one after another, under a steady load.

    Args:
        folder: for everything.
        rate_rps: requests a second.
        runs: canaries of each kind.
        good_s: how long a good one has to stay.
    """
    bundles = make_bundles(folder / "made")
    with serving(folder, bundles[FIRST], "--workers", "2") as running:
        with connect(running.store_url()) as client:
            for bundle in bundles.values():
                publish(Bundle.open(bundle), folder / "bundles", client)
        result, ended = Result(), threading.Event()

        def try_all() -> None:
            try:
                for kind in [kind for kind in bundles if kind != FIRST] * runs:
                    longest_s = good_s if kind == GOOD else LONGEST_S
                    trial = try_one(running, kind.replace(" ", "-"), longest_s)
                    result.trials.setdefault(kind, []).append(trial)
            finally:
                ended.set()

        with ThreadPoolExecutor(1) as operator:
            done = operator.submit(try_all)
            result.statuses = load(running.port, rate_rps, ended)
            done.result()
    return result


def try_one(running: Running, version: str, longest_s: float) -> Trial:
    """Give a canary its share, and wait until it is taken back, or for so long."""
    path = f"/admin/models/{version}/canary"
    status, answer = running.ask("POST", path, {"percent": PERCENT})
    assert status == 200, answer
    begun_s = time.perf_counter()
    seconds = None
    while (waited_s := time.perf_counter() - begun_s) < longest_s:
        if running.ask("GET", "/admin/deployment")[1]["canary"] is None:
            seconds = waited_s
            break
        time.sleep(LOOK_S)
    else:
        running.ask("POST", path, {"percent": 0})
    return Trial(seconds, running.ask("GET", "/admin/deployment")[1]["audit"][0]["what"])


def load(port: int, rate_rps: float, ended: threading.Event) -> Counter[int]:
    """Requests of all users at random times until the end; answers their statuses."""
    address = Address("127.0.0.1", port)
    users = np.random.default_rng(1).permutation(N_USERS) + 1
    requests = [
        encode_post(address, "/recommend", {"user_id": f"u{n}", "k": 10}) for n in users.tolist()
    ]

    def starts() -> Iterator[float]:
        for start_s in Arrivals(rate_rps, 86_400).of_user(0):
            if ended.is_set():
                return
            yield start_s

    with Load(address, N_CONNECTIONS) as connections:
        sample = connections.keep_pace(requests, starts(), lambda *_: None)
    return Counter(sample.statuses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, nargs="+", default=[200.0, 2000.0], metavar="RPS")
    parser.add_argument("--runs", type=int, default=20, help="canaries of each kind")
    parser.add_argument("--good-s", type=float, default=30.0, help="how long a good one must stay")
    arguments = parser.parse_args()
    for rate_rps in arguments.rate:
        with tempfile.TemporaryDirectory() as folder:
            result = run(Path(folder), rate_rps, arguments.runs, arguments.good_s)
        print(f"{rate_rps:g} requests/s, statuses {dict(result.statuses)}")
        for kind, trials in result.trials.items():
            seconds = sorted(one.seconds for one in trials if one.seconds is not None)
            print(f"  {kind:20} taken back {len(seconds)} of {len(trials)}", end="")
            if seconds:
                print(f" after {np.median(seconds):.1f} s, last {seconds[-1]:.1f}", end="")
            print(f"; {trials[-1].what}", flush=True)


if __name__ == "__main__":
    main()
