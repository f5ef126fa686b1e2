"""What fifty rules of all actions cost a request: two services of one bundle, one of them ruled."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from loadtest.api import ask
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.figures import (
    HEADING,
    figures_of,
    format_interval,
    format_row,
    ratio_of,
    single_medians_ms,
)
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import Rig, check_answers
from loadtest.errors import TargetError
from loadtest.target import Address

N_RULES = 50
SHARES = (0.01, 0.05, 0.1, 0.3)
"""Of the catalogue, about what a boost's filter meets."""
SPARE_VALUES = 4  # caps permit this many times as many values as an answer has items
LISTED_SHARE, MAX_LISTED = 0.001, 10  # of the items, in one rule
SEED = 7
Rule = dict[str, Any]


def run(rig: Rig) -> dict[str, Any]:
    """Alternate a service with rules and one without; what rules cost is the ratio of the two."""
    bundle = rig.bundle
    token = secrets.token_urlsafe(18)
    user_ids, _ = rig.users(bundle, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    rules = make_rules(BundleFiles(bundle))
    with (
        rig.service(bundle, name="plain") as plain_child,
        rig.service(
            bundle, name="ruled", environment={"LONGTAIL_ADMIN_TOKEN": token}
        ) as ruled_child,
    ):
        _apply(ruled_child.address, rules, token)
        servers = []
        for child in (plain_child, ruled_child):
            check_answers(child.address, bodies)
            servers.append(MeasuredServer.asked(child, bodies, expect_items(K)))
        with rig.measuring():
            rig.alternate(servers, rig.plan.rounds)
    plain, ruled = servers
    by_latency = ratio_of(single_medians_ms(ruled), single_medians_ms(plain))
    figures: dict[str, Any] = {
        "n_rules": len(rules),
        "p50_ratio": by_latency[0],
        "p50_ratio_interval": by_latency[1],
        "without": figures_of(plain),
        "with": figures_of(ruled),
    }
    if plain.cpu_us and ruled.cpu_us:
        figures["cpu_ratio"], figures["cpu_ratio_interval"] = ratio_of(ruled.cpu_us, plain.cpu_us)
    return {"rules": figures, "failed": plain.n_failed + ruled.n_failed}


def make_rules(files: BundleFiles) -> list[Rule]:
    """Fifty rules on a bundle's items: all actions, some of them for a context or a time."""
    items = _items(files)
    n_listed = max(1, min(MAX_LISTED, int(LISTED_SHARE * len(files.item_ids))))

    def some() -> list[str]:
        return [next(items) for _ in range(n_listed)]

    hides = [{"action": "hide", "item_ids": some()} for _ in range(10)]
    boosts: list[Rule] = []
    for share in SHARES:
        attribute, value, _ = files.find_filter(share)
        met = {attribute: {"any": [value]}}
        boosts += [{"action": "boost", "factor": 1.2, "filters": met}] * 3
    buries = [{"action": "bury", "factor": 1.5, "item_ids": some()} for _ in range(8)]
    pins = [{"action": "pin", "item_id": next(items), "rank": rank} for rank in (1, 4, 6, 9)]
    caps = [_cap(files, share) for share in (SHARES[1], SHARES[-1])]
    elsewhere = [
        {"action": "hide", "item_ids": some(), "context": {"country": f"C{n}"}} for n in range(7)
    ]
    now = {"from": "2020-01-01T00:00:00Z", "until": "2120-01-01T00:00:00Z"}
    timed = [{"action": "boost", "factor": 2, "item_ids": some(), **now} for _ in range(4)]
    late = {"from": now["until"]}
    later = [{"action": "bury", "factor": 2, "item_ids": some(), **late} for _ in range(3)]
    rules = [*hides, *boosts, *buries, *pins, *caps, *elsewhere, *timed, *later]

    return [{"name": f"rule {number}", **rule} for number, rule in enumerate(rules)]


def _items(files: BundleFiles) -> Iterator[str]:
    """Items in a random order, again and again."""
    item_ids: Sequence[str] = random.Random(SEED).sample(files.item_ids, len(files.item_ids))
    while True:
        yield from item_ids


def _cap(files: BundleFiles, share: float) -> Rule:
    """A cap on the attribute of such a filter, that keeps some of the best items out."""
    attribute, _, _ = files.find_filter(share)
    n_values = len(files.values_of(attribute))
    return {
        "action": "cap",
        "attribute": attribute,
        "at_most": max(1, round(SPARE_VALUES * K / n_values)),
    }


def _apply(address: Address, rules: list[Rule], token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    status, answer = ask(
        address, "PUT", "/admin/rules", {"rules": rules}, headers=headers, timeout_s=120.0
    )
    if status != 200:
        raise TargetError(f"PUT /admin/rules answers {status}: {answer}")


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["rules"]
    lines = [
        HEADING,
        format_row("without rules", found["without"]),
        format_row(f"with {found['n_rules']} rules", found["with"]),
        (
            f"p50 with rules / without {found['p50_ratio']:.3f} "
            f"({format_interval(found['p50_ratio_interval'])})"
        ),
    ]
    if "cpu_ratio" in found:
        interval = format_interval(found["cpu_ratio_interval"])
        lines.append(f"CPU time of a request {found['cpu_ratio']:.3f} ({interval})")
    return lines
