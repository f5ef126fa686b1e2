"""Drives a world through four policies, and prints the clicks per exposure of each.

python -m examples.loop --out builds/loop-example
python -m examples.loop --out builds/loop-example --users 500 --days 8 --seeds 0
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from examples.loop.figures import Counts, Floats, ratio
from examples.loop.policies import Act, ByPopularity, ByService, ByTruth, Policy
from examples.loop.shop import Shop, ShopError
from examples.loop.world import World
from longtail_client import LongtailError

LOOP, FROZEN, POPULARITY, TRUTH = "refreshed", "never refreshed", "popularity", "the truth"
AT_ONCE = 50
"""Visitors between two looks at what was clicked: answers and events alternate, as in a shop."""
DAY_S = 86_400
Document = dict[str, Any]


@dataclass
class Record:
    """What was counted under one policy, by day and user.

    Attributes:
        clicks, exposures: `[days, users]`.
        old_kind, new_kind: `[days, users]`, shown items of the best kind before and after a shift.
    """

    clicks: Floats
    exposures: Floats
    old_kind: Floats
    new_kind: Floats

    @classmethod
    def of(cls, world: World) -> Record:
        """Nothing yet."""
        return cls(*(np.zeros((world.days, world.users)) for _ in range(4)))

    def counts(self, days: range, users: Floats) -> Counts:
        """Of a period and of those users of a mask who were shown something then."""
        chosen = list(days)
        return Counts(self.clicks[chosen].sum(0)[users], self.exposures[chosen].sum(0)[users])


@dataclass
class Simulation:
    """A world and what became of it.

    Attributes:
        world: users and items.
        folder: for the two shops.
        refresh_every: days.
        margin: share of the running version's figure whose loss has to be ruled out.
        explore: share of the refreshed service's answers that are drawn at random.
        shop: makes an operator of a folder, for a seed and a share of drawn answers.
    """

    world: World
    folder: Path
    refresh_every: int
    margin: float = 0.05
    explore: float = 0.0
    shop: Callable[[Path, int, float], Shop] = Shop
    records: dict[str, Record] = field(default_factory=dict)
    refreshes: list[Document] = field(default_factory=list)

    def run(self) -> Document:
        """Let all days pass; answers the figures."""
        world = self.world
        earlier = self._earlier()
        rows = [(f"u{act.user}", f"i{act.item}", at) for acts in earlier for act, at in acts]
        loop = self.shop(self.folder / "loop", world.seed, self.explore)
        frozen = self.shop(self.folder / "frozen", world.seed, 0.0)
        with ExitStack() as stack:
            policies: dict[str, Policy] = {}
            loop.build(world.items, rows)
            for name, shop in ((LOOP, loop), (FROZEN, frozen)):
                client = stack.enter_context(shop.service(loop.bundle))
                policies[name] = ByService(client, one_by_one=shop.explore > 0)
            policies |= {POPULARITY: ByPopularity(world), TRUTH: ByTruth(world)}
            for acts in earlier:
                for name in (POPULARITY, TRUTH):
                    policies[name].hear(-1, [act for act, _ in acts])
            self.records = {name: Record.of(world) for name in policies}
            for day in range(world.days):
                if day and day % self.refresh_every == 0:
                    self._refresh(loop, day)
                for name, policy in policies.items():
                    self._pass_day(day, policy, self.records[name])
                self._log(day)
        # A service writes what it showed once a second, and the rest when it ends.
        loop.archive()
        return self._describe(loop)

    def _earlier(self) -> list[list[tuple[Act, float]]]:
        """What people found by themselves before the shop recommended anything, by day."""
        days, now_s = [], time.time()
        for day in range(-self.world.earlier_days, 0):
            finds = self.world.found(day)
            step_s = DAY_S / (len(finds) + 1)
            start_s = now_s + DAY_S * day
            days.append([(Act(u, i), start_s + n * step_s) for n, (u, i) in enumerate(finds)])
        return days

    def _pass_day(self, day: int, policy: Policy, record: Record) -> None:
        """Visits, clicks, and what people find by themselves."""
        world = self.world
        liking, draws = world.liking(day), world.would_click(day)
        visitors, found = world.visitors(day), world.found(day)
        n_parts = -(-len(visitors) // AT_ONCE)
        parts = np.array_split(visitors, n_parts), np.array_split(np.arange(len(found)), n_parts)
        for users, finds in zip(*parts, strict=True):
            acts = [Act(*found[number]) for number in finds.tolist()]
            for shown in policy.show(day, users.tolist()):
                user, kinds = shown.user, world.kind[shown.items]
                ranks = world.clicks(user, shown.items, liking, draws)
                record.clicks[day, user] = len(ranks)
                record.exposures[day, user] = len(shown.items)
                record.old_kind[day, user] = (kinds == world.tastes[user, 0]).sum()
                record.new_kind[day, user] = (kinds == world.tastes[user, 2]).sum()
                acts += [Act(user, shown.items[rank - 1], rank, shown.request_id) for rank in ranks]
            policy.hear(day, acts)

    def _refresh(self, shop: Shop, day: int) -> None:
        started_s = time.monotonic()
        shop.archive()
        report = shop.refresh(self.margin)
        found = {
            "day": day,
            "outcome": report["outcome"],
            "evidence": report["comparison"]["evidence"] if "comparison" in report else None,
            "reason": report["reason"],
            "seconds": round(time.monotonic() - started_s, 1),
        }
        self.refreshes.append(found)
        _print(
            f"  before day {day}: {found['outcome']} ({found['evidence']}): {found['reason']} "
            f"({found['seconds']} s)"
        )

    def _log(self, day: int) -> None:
        rates = [
            f"{name} {record.clicks[day].sum() / record.exposures[day].sum():.3f}"
            for name, record in self.records.items()
        ]
        _print(f"  day {day}: {', '.join(rates)}")

    def _describe(self, loop: Shop) -> Document:
        mine = self.records[LOOP]
        archived = read_archives(loop)
        return {
            "seed": self.world.seed,
            "refreshes": self.refreshes,
            **describe([(self.world, self.records)], self.refresh_every),
            "counted": {"exposures": int(mine.exposures.sum()), "clicks": int(mine.clicks.sum())},
            "archived": archived,
        }


Runs = Sequence[tuple[World, dict[str, Record]]]


def describe(runs: Runs, period: int) -> Document:
    """Click rates by period and policy, of all users of some worlds that differ by their seeds."""
    days = runs[0][0].days
    last = range(max(days - period, 0), days)
    everybody = [np.ones(world.users, dtype=bool) for world, _ in runs]
    shifting = [world.shifts for world, _ in runs]
    periods = [range(start, min(start + period, days)) for start in range(0, days, period)]

    def counts(name: str, span: range, groups: Sequence[Any]) -> Counts:
        found = [
            records[name].counts(span, group)
            for (_, records), group in zip(runs, groups, strict=True)
        ]
        return Counts(
            np.concatenate([one.clicks for one in found]),
            np.concatenate([one.exposures for one in found]),
        )

    def share(kind: str, span: range, groups: Sequence[Any]) -> Any:
        """Of what the refreshed service shows to a group, items of a kind."""
        parts = [
            (
                getattr(records[LOOP], kind)[list(span)].sum(0),
                records[LOOP].exposures[list(span)].sum(0),
                group,
            )
            for (_, records), group in zip(runs, groups, strict=True)
        ]
        return ratio(
            np.concatenate([shown[group] for shown, _, group in parts]),
            np.concatenate([all_[group] for _, all_, group in parts]),
        )

    def rates(groups: Sequence[Any]) -> list[Document]:
        return [
            {
                "days": [span.start, span.stop - 1],
                **{name: counts(name, span, groups).rate() for name in runs[0][1]},
            }
            for span in periods
        ]

    ahead = {
        f"{LOOP} - {name}": counts(LOOP, last, everybody).above(counts(name, last, everybody))
        for name in (FROZEN, POPULARITY)
    }
    return {
        "users": sum(world.users for world, _ in runs),
        "rates": rates(everybody),
        "last_period": ahead,
        "shift": {
            "day": runs[0][0].shift_day,
            "rates": rates(shifting),
            "shown": [
                {
                    "days": [span.start, span.stop - 1],
                    "old_kind": share("old_kind", span, shifting),
                    "new_kind": share("new_kind", span, shifting),
                    # To others, the kind that they would have liked best after a shift.
                    "without_shift": share("new_kind", span, [~one for one in shifting]),
                }
                for span in periods
            ],
        },
    }


def read_archives(shop: Shop) -> Document:
    """Exposures, and clicks on them, as the archives have them."""
    events, exposures = (pl.scan_parquet(folder / "**/*.parquet") for folder in shop.archives)
    shown = exposures.select("request_id", "user_id", pl.col("item_ids").alias("item_id")).explode(
        "item_id"
    )
    shown_items = shown.collect()
    clicks = events.filter(pl.col("request_id").is_not_null()).collect()
    # All answers of a batch have its request's id.
    joined = clicks.join(shown_items, on=["request_id", "user_id", "item_id"], how="inner")
    return {"exposures": len(shown_items), "clicks": len(joined)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worlds of some seeds; the last line is one JSON document."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _leave)
    if arguments.out.exists():
        print(f"examples.loop: --out {arguments.out} exists; name a new folder", file=sys.stderr)
        return 1
    try:
        return run_seeds(arguments)
    except (ShopError, LongtailError) as error:
        print(f"examples.loop: {error}", file=sys.stderr)
    except OSError as error:
        print(f"examples.loop: {error.filename}: {error.strerror}", file=sys.stderr)
    return 1


def run_seeds(arguments: argparse.Namespace) -> int:
    """Run them one after another, and write the result.

    Raises:
        ShopError: a command of a shop's failed.
        LongtailError: a service doesn't answer.
    """
    runs, found = [], []
    for seed in arguments.seeds:
        _print(f"seed {seed}: {arguments.users:,} users, {arguments.days} days")
        world = World(
            arguments.users,
            arguments.items,
            arguments.kinds,
            arguments.days,
            arguments.earlier_days,
            seed,
        )
        simulation = Simulation(
            world,
            arguments.out / f"seed-{seed}",
            arguments.refresh_every,
            explore=arguments.explore,
        )
        found.append(simulation.run())
        runs.append((world, simulation.records))
        print_figures(found[-1])
    together = describe(runs, arguments.refresh_every)
    if len(runs) > 1:
        _print("all seeds")
        print_figures(together)
    result = {"seeds": found, "together": together}
    (arguments.out / "result.json").write_text(json.dumps(result, indent=1))
    _print(json.dumps(together))
    return 0


def print_figures(found: Document) -> None:
    """Print tables of the click rates."""
    for title, rates in (("everybody", found["rates"]), ("taste shifts", found["shift"]["rates"])):
        names = [name for name in rates[0] if name != "days"]
        _print(f"  {title:<14}" + "".join(f"{name:>24}" for name in names))
        for row in rates:
            first, last = row["days"]
            cells = "".join(f"{_text(row[name]):>24}" for name in names)
            _print(f"  {f'days {first} to {last}':<14}" + cells)
    for name, estimate in found["last_period"].items():
        _print(f"  last period, {name}: {_text(estimate)}")
    for row in found["shift"]["shown"]:
        first, last = row["days"]
        kinds = f"old best kind {_text(row['old_kind'])}, new {_text(row['new_kind'])}"
        kinds += f"; without a shift {_text(row['without_shift'])}"
        _print(f"  days {first} to {last}, shown to those who shift: {kinds}")


def _text(estimate: Document) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _leave(number: int, _frame: object) -> None:
    """Unwind, so that the services end as well."""
    sys.exit(128 + number)


def _print(line: str) -> None:
    print(line, flush=True)


def _from(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return read


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    for name, least, default, about in (
        ("users", 1, 2000, ""),
        ("items", 10, 400, ""),
        ("kinds", 3, 10, "of items "),
        ("days", 1, 12, "with recommendations "),
        ("earlier-days", 1, 5, "without "),
        ("refresh-every", 1, 2, "days "),
    ):
        parser.add_argument(
            f"--{name}",
            type=_from(least),
            default=default,
            metavar="N",
            help=f"{about}(%(default)s)",
        )
    parser.add_argument(
        "--explore",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="of the refreshed service's answers that are drawn at random (%(default)s)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    return parser
