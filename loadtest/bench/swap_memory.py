"""Memory over many activations: what one version leaves behind adds up, or doesn't."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.api import ask
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.catalogue import split_processes
from loadtest.bench.plan import K
from loadtest.bench.rig import Rig, check_answers, print_line
from loadtest.bench.swap import activate_version
from loadtest.memory import rss_bytes_of
from loadtest.target import Address
from loadtest.workload import read_bundle_workload

SETTLED = 5  # activations until both versions and all of their buffers have been there
REQUESTS = 20  # between two activations
SETTLING_S = 0.2
INTERESTS = "something funny in space"


def run(rig: Rig) -> dict[str, Any]:
    """Activate two copies of the demo's bundle alternately; or why that can't be measured."""
    if sys.platform != "linux":
        return _left_out("resident memory is read from /proc, which only Linux has")
    if not (rig.demo / "manifest.json").exists():
        return _left_out(f"no bundle in {rig.demo}; `make demo` builds it")
    other = copy_as_another(rig.demo, rig.folder / "other")
    versions = [BundleFiles(bundle).version for bundle in (other, rig.demo)]
    bodies = [{"user_id": u, "k": K} for u in read_bundle_workload(rig.demo).user_ids[:REQUESTS]]
    token = secrets.token_urlsafe(18)
    environment = {"LONGTAIL_ADMIN_TOKEN": token}
    # Serving a bundle publishes it, and the folders are shared: afterwards both are there.
    with rig.service(other, store="swap-memory", environment=environment):
        pass
    with rig.service(rig.demo, store="swap-memory", environment=environment) as child:
        check_answers(child.address, bodies)
        own, _ = split_processes(child)
        rss_bytes, faults = [rss_bytes_of(own)], []
        for number in range(rig.plan.n_memory_swaps):
            fault = activate_version(child.address, versions[number % 2], token)
            fault = fault or _ask(child.address, bodies)
            faults += [fault] if fault else []
            time.sleep(SETTLING_S)
            rss_bytes.append(rss_bytes_of(own))
    for fault in faults:
        print_line(f"  {fault}")
    return {"swap_memory": summarise(rss_bytes), "failed": len(faults)}


def _left_out(reason: str) -> dict[str, Any]:
    print_line(f"  left out: {reason}")
    return {"swap_memory": {"left_out": reason}, "failed": 0}


def copy_as_another(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle under another version, with a report of its own.

    Publishing takes bundles of the same files for the same bundle.
    """
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    report = b'{"copy": true}'
    (folder / "report.json").write_bytes(report)
    sha256 = hashlib.sha256(report).hexdigest()
    manifest["files"]["report.json"] = {"sha256": sha256, "size_bytes": len(report)}
    manifest["version"] += "-copy"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _ask(address: Address, bodies: list[dict[str, object]]) -> str | None:
    """Ask for users' recommendations and for interests; the last fault as one line."""
    fault = None
    for body in (*bodies, {"interests": INTERESTS, "k": K}):
        status, answer = ask(address, "POST", "/recommend", body, timeout_s=30.0)
        if status != 200:
            fault = f"POST /recommend answers {status}: {answer}"
    return fault


def summarise(rss_bytes: list[int]) -> dict[str, Any]:
    """Resident bytes before the first activation, after each stretch, and what was added.

    Args:
        rss_bytes: before the first activation and after each.
    """
    settled = rss_bytes[min(SETTLED, len(rss_bytes) - 1)]
    return {
        "n_swaps": len(rss_bytes) - 1,
        "rss_bytes": {
            "before": rss_bytes[0],
            "settled": settled,
            "end": rss_bytes[-1],
            "max": max(rss_bytes),
        },
        "growth": round(rss_bytes[-1] / settled - 1, 4),
    }


def describe(figures: dict[str, Any]) -> list[str]:
    """The lines a person reads."""
    found = figures["swap_memory"]
    if "left_out" in found:
        return [f"left out: {found['left_out']}"]
    before, settled, end, most = (f"{size / 1e6:.1f}" for size in found["rss_bytes"].values())
    return [
        (
            f"{found['n_swaps']} swaps: rss {before} MB before, {settled} after the {SETTLED}th, "
            f"{end} after the last ({found['growth']:+.1%}), {most} at most"
        )
    ]
