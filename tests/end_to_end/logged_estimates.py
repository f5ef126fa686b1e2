"""How often the intervals of estimates from logs hold a simulator's truth.

python -m tests.end_to_end.logged_estimates --runs 300 --users 2000 --first-seed 0
"""

from __future__ import annotations

import argparse
import json

from tests.offline.logged.simulator import World, held


def main() -> None:
    """Print the share by estimator and number of ranks, one JSON line for each policy."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.logged_estimates")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--first-seed", type=int, default=0, help="of the first run")
    arguments = parser.parse_args()
    for greedy in (False, True):
        world = World.of(greedy=greedy)
        shares = held(world, arguments.runs, arguments.users, arguments.first_seed)
        policy = "ranking" if greedy else "drawn"
        truth = [round(value, 4) for value in world.truth().tolist()]
        print(json.dumps({"policy": policy, "truth": truth, "shares": shares}), flush=True)


if __name__ == "__main__":
    main()
