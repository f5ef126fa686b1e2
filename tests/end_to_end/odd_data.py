"""A synthetic data set with the oddities of real files: ids, missing titles, repeats, disorder."""

from __future__ import annotations

import csv
import random
from pathlib import Path

N_ITEMS = 40
N_USERS = 50
LONG_ID = "x" * 200
GENRES = ("animation", "comedy", "drama", "romance", "war")


def item_name(number: int) -> str:
    """Ids with spaces, unicode, quotes, leading zeros, and one of 200 characters."""
    forms = (
        f"item {number}",
        f"00{number}",
        f"naïve café {number}",
        f'a "b", {number}',
        f"日本{number}",
    )
    return LONG_ID if number == 7 else forms[number % len(forms)]


def user_name(number: int) -> str:
    return f"user ü {number}" if number % 3 else f"u:{number}/x"


def write_odd_data(folder: Path, seed: int = 1) -> tuple[Path, Path]:
    """interactions.csv and items.csv; each user walks the catalogue in a circle, so that there is
    something to learn."""
    rng = random.Random(seed)
    rows = []
    for user in range(N_USERS):
        at = rng.randrange(N_ITEMS)
        for step in range(rng.randint(4, 12)):
            at = (at + 1) % N_ITEMS
            rows.append([user_name(user), item_name(at), 1_700_000_000 + user * 100 + step])
    rows += rows[:10]  # repeats
    rng.shuffle(rows)  # times out of order
    rows.insert(5, ["", item_name(1), 1_700_000_000])  # no user
    rows.insert(9, [user_name(1), item_name(2), "yesterday"])  # no time
    interactions, items = folder / "interactions.csv", folder / "items.csv"
    with interactions.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["user_id", "item_id", "timestamp"], *rows])
    with items.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "genres", "year"])
        for number in range(N_ITEMS):
            title = "" if number % 8 == 3 else f"toy story {number}"
            genres = "|".join(sorted(rng.sample(GENRES, 2)))
            writer.writerow([item_name(number), title, genres, 1980 + number])
    return interactions, items
