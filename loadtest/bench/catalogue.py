"""How cost grows with the catalogue: plain, with a filter, with exclusions; recall; memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from loadtest.bench.bundles import BundleFiles
from loadtest.bench.figures import HEADING, figures_of, format_row
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.recall import Judge, Question
from loadtest.bench.rig import COSTLY_CONNECTIONS, Rig, check_answers, print_line
from loadtest.children import Child
from loadtest.memory import pss_bytes_of, rss_bytes_of
from loadtest.workload import read_histories

FILTER_SHARE = 0.01
N_EXCLUDED = 1_000
N_EXCLUDING_USERS = 200  # a body with a thousand ids is 10 kB
N_GOLDEN = 20


def run(rig: Rig, n_items: int) -> dict[str, Any]:
    """One catalogue's figures under its size, or the reason why this machine leaves it out."""
    if (reason := rig.synthetic.why_not(n_items)) is not None:
        print_line(f"  left out: {reason}")
        return {"catalogue": {str(n_items): {"left_out": reason}}, "failed": 0}
    bundle = rig.synthetic.get(n_items, trained=True)
    files = BundleFiles(bundle)
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    with rig.service(bundle, name=f"recommend-{n_items}", n_items=n_items) as child:
        check_answers(child.address, [{"user_id": user_id, "k": K} for user_id in user_ids])
        questions, recalls = _judge(rig, child, files, user_ids)
        servers = {
            name: MeasuredServer.asked(child, bodies, expect_items(K))
            for name, bodies in questions.items()
        }
        with rig.measuring():
            rig.alternate(list(servers.values()), rig.plan.survey_rounds, COSTLY_CONNECTIONS)
        figures = {name: figures_of(server) | recalls[name] for name, server in servers.items()}
        found = figures.pop("plain") | figures | memory_of(child)
    found["table_bytes"] = files.table.nbytes
    if "rss_bytes" in found:  # for `loadtest.sizing`
        own_bytes = found["rss_bytes"] - files.table.nbytes
        found["table_bytes_per_item"] = round(files.table.nbytes / n_items, 1)
        found["worker_bytes_per_item"] = round(own_bytes / n_items, 1)
    failed = sum(server.n_failed for server in servers.values())
    return {"catalogue": {str(n_items): found}, "failed": failed}


def _judge(
    rig: Rig, child: Child, files: BundleFiles, user_ids: list[str]
) -> tuple[dict[str, list[dict[str, object]]], dict[str, dict[str, Any]]]:
    """The bodies of each kind of request, and the recall of their answers."""
    attribute, value, allowed = files.find_filter(FILTER_SHARE)
    filters = {attribute: {"any": [value]}}
    print_line(
        f"  recall, {attribute} {value!r} leaves {len(allowed):,} of {len(files.table) - 1:,} items"
    )
    histories = read_histories(files.folder, user_ids[: rig.plan.n_recall_histories])
    judge = Judge(child.address, files, list(histories.values()))
    n_excluded = min(N_EXCLUDED, len(files.table) // 2)
    excluding = dict(list(histories.items())[:N_EXCLUDING_USERS])
    excluded = {
        # People exclude items that they were shown, so the best ones. For a search that is the
        # hardest case: items that it missed among these are the best of the rest.
        "excluded": {
            user_id: judge.top_items(history, n_excluded) for user_id, history in excluding.items()
        },
        "excluded_random": draw_items(files, list(excluding), n_excluded),
    }
    plain = [Question(history) for history in histories.values()]
    filtered = [Question(history, extras={"filters": filters}) for history in histories.values()]
    found = {"plain": judge.recall(plain, K), "filtered": judge.recall(filtered, K, allowed)}
    for name, items in excluded.items():
        questions = [Question(histories[user_id], excluded=items[user_id]) for user_id in items]
        found[name] = judge.recall(questions, K)
    golden = files.golden[:N_GOLDEN]
    recalls: dict[str, dict[str, Any]] = {
        name: {"recall_at_10": round(recall, 4), "short_answers": n_short}
        for name, (recall, n_short) in found.items()
    }
    recalls["plain"]["agrees_with_golden"] = judge.agrees_with_golden(golden)
    recalls["plain"]["recall_histories"] = len(plain)
    recalls["filtered"]["filter_leaves"] = len(allowed)
    for name in excluded:
        recalls[name]["n_excluded"] = n_excluded
    bodies: dict[str, list[dict[str, object]]] = {
        "plain": [{"user_id": user_id, "k": K} for user_id in user_ids],
        "filtered": [{"user_id": user_id, "k": K, "filters": filters} for user_id in user_ids],
    }
    for name, items in excluded.items():
        bodies[name] = [
            {"user_id": user_id, "k": K, "exclude": list(out)} for user_id, out in items.items()
        ]
    return bodies, recalls


def draw_items(
    files: BundleFiles, user_ids: Sequence[str], n_items: int
) -> dict[str, tuple[str, ...]]:
    """Items drawn from the whole catalogue, different for each user, the same in each run."""
    rng = np.random.default_rng(0)
    item_ids = files.item_ids
    return {
        user_id: tuple(item_ids[at] for at in rng.choice(len(item_ids), n_items, replace=False))
        for user_id in user_ids
    }


def memory_of(child: Child) -> dict[str, int]:
    """Memory of the service's own processes, and of its embedded store."""
    if sys.platform != "linux":
        return {}
    own, store = split_processes(child)
    return {
        "rss_bytes": rss_bytes_of(own),
        "pss_bytes": pss_bytes_of(own),
        "store_rss_bytes": rss_bytes_of(store),
    }


def split_processes(child: Child) -> tuple[list[int], list[int]]:
    """Ids of the service's own processes, and of its other children (its store)."""
    processes = child.processes()
    own = [pid for pid, program in processes.items() if program.startswith("python")]
    return own, [pid for pid in processes if pid not in own]


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    lines = []
    for n_items, found in figures["catalogue"].items():
        size = f"{int(n_items):,}"
        if "left_out" in found:
            lines.append(f"{size} items left out: {found['left_out']}")
            continue
        lines.append(f"{HEADING}{'recall':>9}{'rss MB':>9}")
        memory = f"{found['rss_bytes'] / 1e6:>9.0f}" if "rss_bytes" in found else f"{'-':>9}"
        n_excluded = f"{found['excluded']['n_excluded']:,}"
        for name, row, end in (
            (f"{size} items", found, memory),
            (f"  {FILTER_SHARE:.0%} by a filter", found["filtered"], ""),
            (f"  its best {n_excluded} excluded", found["excluded"], ""),
            (f"  {n_excluded} random excluded", found["excluded_random"], ""),
        ):
            lines.append(f"{format_row(name, row)}{row['recall_at_10']:>9.4f}{end}")
    return lines
