"""Which interactions follow a recommendation: the event names the answer that it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from model_store.codecs import UserHistory
from offline.data.interactions import Interactions
from offline.data.newest import find_new
from offline.data.split import Bool


def find_prompted(interactions: Interactions, events: Path | None) -> Bool:
    """Whether an archived event of the same user, item and second names an answer, bool [n].

    Args:
        interactions: to look for.
        events: an archive of events; None: nothing is known.
    """
    files = [] if events is None else sorted(events.glob("day=*/*.parquet"))
    if not files:
        return np.zeros(len(interactions), dtype=np.bool_)
    rows = (
        pl.scan_parquet(files)
        .filter(pl.col("request_id").is_not_null())
        .select("user_id", "item_id", "timestamp")
        .filter(pl.col("item_id").is_in(interactions.item_ids.ids))
        .collect()
    )
    prompted = [
        (str(user_id), UserHistory(_indices(own, interactions), own["timestamp"].to_numpy()))
        for (user_id,), own in rows.group_by("user_id")
    ]
    return ~find_new(interactions, prompted, interactions.item_ids)


def _indices(rows: pl.DataFrame, interactions: Interactions) -> np.ndarray:
    found = [interactions.item_ids.index_of(one) for one in rows["item_id"].to_list()]
    return np.array(found, dtype=np.int32)
