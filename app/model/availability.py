"""Which items of a loaded version are withdrawn: in no answer until they come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from app.model.arrays import NO_ITEMS, IndexArray
from app.model.ranking import are_members


@dataclass
class Availability:
    """Withdrawn items, and how far the changes of the catalogue have been followed.

    Attributes:
        withdrawn: sorted item_indices; replaced as a whole, so that readers need no lock.
        read_up_to: number of the newest change that the model has, see `model_store.item_changes`.
    """

    withdrawn: IndexArray = field(default_factory=lambda: NO_ITEMS)
    read_up_to: int = 0

    def copy(self) -> Availability:
        """The same for another state of the version."""
        # Read first, as it is written last: what it counts must be among the withdrawn.
        read_up_to = self.read_up_to
        return Availability(self.withdrawn, read_up_to)

    def set(self, are_available: Mapping[int, bool]) -> None:
        """Withdraw items, or let them come back, by item_index."""
        if not are_available:
            return
        changed = np.array(sorted(are_available), dtype=np.int32)
        kept = self.withdrawn[~are_members(self.withdrawn, changed)]
        added = changed[[not are_available[item] for item in changed.tolist()]]
        self.withdrawn = np.insert(kept, kept.searchsorted(added), added)

    def permitted(self, items: IndexArray) -> IndexArray:
        """Those of some sorted items that are available."""
        if not len(self.withdrawn):
            return items
        return items[~are_members(items, self.withdrawn)]
