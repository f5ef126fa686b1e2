"""Damaged bundles, one kind of damage each, over copies of a sound one.

Most are what a faulty builder would make: the manifest's sums agree with the files, so that it is
the checks of what is in them that are tried. The others are files that changed afterwards.
"""

from __future__ import annotations

from collections import Counter

from tests.damage.arrays import damaged_arrays
from tests.damage.documents import (
    damaged_attributes,
    damaged_files,
    damaged_golden,
    damaged_ids,
    damaged_manifests,
)
from tests.damage.graphs import damaged_sequence_graphs, damaged_text_encoders
from tests.damage.kinds import Damage, restate
from tests.damage.texts import damaged_knowledge_texts

__all__ = ["Damage", "all_damages", "restate"]


def all_damages() -> list[Damage]:
    """Every kind."""
    damages = [
        *damaged_arrays(),
        *damaged_files(),
        *damaged_ids(),
        *damaged_attributes(),
        *damaged_golden(),
        *damaged_manifests(),
        *damaged_sequence_graphs(),
        *damaged_text_encoders(),
        *damaged_knowledge_texts(),
    ]
    names = Counter(damage.name for damage in damages)
    assert not [name for name, count in names.items() if count > 1], names.most_common(3)
    return damages
