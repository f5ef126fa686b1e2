"""What users, requests and events take: for `loadtest.sizing`."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from loadtest.bench.bundles import BundleFiles
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import MAIN_ITEMS, Rig, check_answers
from loadtest.children import Child
from loadtest.client import Load, encode_post
from loadtest.pacing import Arrivals
from loadtest.store_servers import read_info, running_server
from loadtest.workload import find_users_by_length

EVENTS_RPS = 300.0
EVENTS_CONNECTIONS = 8
EVENT_USERS = 500


def run(rig: Rig) -> dict[str, Any]:
    """A service on an empty store of its own: what publishing, requests and events add."""
    bundle = rig.synthetic.get(MAIN_ITEMS, knowledge=False)
    files = BundleFiles(bundle)
    _, lengths = find_users_by_length(bundle, HISTORY_LENGTH, files.n_users)
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    with running_server(rig.folder / "footprint") as url:
        empty = read_info(url)
        with rig.service(bundle, environment={"LONGTAIL_REDIS_URL": url}) as child:
            published = read_info(url)
            check_answers(child.address, bodies)
            server = MeasuredServer.asked(child, bodies, expect_items(K))
            with rig.measuring():
                server.warm_up(rig.plan.n_connections, rig.plan.warm_up_s)
                before, n_before = read_info(url), server.n_sent
                for _ in range(rig.plan.survey_rounds):
                    server.saturate(rig.plan.n_connections, rig.plan.saturated_s)
                after, n_requests = read_info(url), server.n_sent - n_before
                events = _send_events(rig, child, files.item_ids, url)
    memory = _data_bytes(published) - _data_bytes(empty)
    figures = {
        "n_users": files.n_users,
        "history_length": statistics.fmean(lengths),
        "user_bytes": memory / files.n_users,
        "request_store_cpu_us": (_cpu_s(after) - _cpu_s(before)) / n_requests * 1e6,
        "request_to_store_bytes": _per(before, after, "total_net_input_bytes", n_requests),
        "request_from_store_bytes": _per(before, after, "total_net_output_bytes", n_requests),
        "request_cpu_us": min(server.cpu_us, default=None),
        **events,
    }
    rounded = {name: value and round(value, 1) for name, value in figures.items()}
    return {"footprint": rounded, "failed": server.n_failed + events["events_failed"]}


def _send_events(rig: Rig, child: Child, item_ids: list[str], url: str) -> dict[str, Any]:
    """One event a request, each another one, as clicks come."""
    n = round(EVENTS_RPS * rig.plan.steady_s)
    pairs = itertools.product(item_ids, range(EVENT_USERS))
    requests = [
        encode_post(
            child.address, "/events", {"events": [{"user_id": f"new{user}", "item_id": item_id}]}
        )
        for item_id, user in itertools.islice(pairs, n)
    ]
    starts = Arrivals(EVENTS_RPS, n / EVENTS_RPS, kind="constant").of_user(0)
    before, cpu_s = read_info(url), child.cpu_s
    with Load(child.address, EVENTS_CONNECTIONS) as load:
        sample = load.keep_pace(requests, itertools.islice(starts, n), _expect_success)
    after = read_info(url)
    spent_s = None if cpu_s is None or child.cpu_s is None else child.cpu_s - cpu_s
    n_sent = len(sample.latencies)
    return {
        "n_events": n_sent,
        "events_failed": sample.n_failed,
        "event_bytes": (_data_bytes(after) - _data_bytes(before)) / n_sent,
        "event_store_cpu_us": (_cpu_s(after) - _cpu_s(before)) / n_sent * 1e6,
        "event_cpu_us": None if spent_s is None else spent_s / n_sent * 1e6,
    }


def _expect_success(status: int, _head: bytes, _body: bytes) -> str | None:
    return None if status == 200 else f"status {status}"


def _data_bytes(info: dict[str, float]) -> float:
    """Memory without buffers of connections, which come and go."""
    return info["used_memory"] - info["mem_clients_normal"]


def _cpu_s(info: dict[str, float]) -> float:
    return info["used_cpu_sys"] + info["used_cpu_user"]


def _per(before: dict[str, float], after: dict[str, float], name: str, n: int) -> float:
    return (after[name] - before[name]) / n


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    found = figures["footprint"]
    return [
        (
            f"a user with a history of {found['history_length']:.0f} takes "
            f"{found['user_bytes']:,.0f} bytes of the store"
        ),
        (
            f"a request: {found['request_to_store_bytes']:,.0f} bytes to the store, "
            f"{found['request_from_store_bytes']:,.0f} from it, "
            f"{found['request_store_cpu_us']:.0f} µs of its CPU"
        ),
        (
            f"an event: {found['event_bytes']:,.0f} bytes of the store with the log, "
            f"{found['event_store_cpu_us']:.0f} µs of its CPU"
        ),
    ]
