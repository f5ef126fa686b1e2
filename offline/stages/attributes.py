"""Attributes of items that a later stage reads in place of the catalogue's own."""

from __future__ import annotations

from model_store.attributes import ItemAttributes
from offline.artifact import Artifact


class AttributesArtifact(Artifact):
    """The catalogue's attributes, and those that were completed."""

    ATTRIBUTES = "attributes.json"

    def attributes(self) -> ItemAttributes:
        """Of each item."""
        return ItemAttributes.load(self.path(self.ATTRIBUTES))
