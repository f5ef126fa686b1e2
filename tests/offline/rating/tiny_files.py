"""Small files of ratings and of items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_USERS, N_ITEMS = 12, 20


def write_rated_files(folder: Path) -> Path:
    """ratings.csv and items.csv in a folder."""
    rng = np.random.default_rng(0)
    rows = [
        f"u{u},i{i},{rng.integers(1, 6)},{1_000_000 + 60 * n}"
        for n, (u, i) in enumerate((u, i) for u in range(N_USERS) for i in range(u % 5, N_ITEMS, 2))
    ]
    (folder / "ratings.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]))
    items = [f"i{i},Film {i},{'drama' if i % 3 else 'comedy'}" for i in range(N_ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,genre", *items]))
    return folder
