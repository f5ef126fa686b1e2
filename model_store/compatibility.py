"""Whether clients of one version can be answered by another."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle
from model_store.errors import BundleError, RegistryError
from model_store.model_record import ModelRecord
from model_store.remote_bundles import Bundles, local_folder

log = logging.getLogger(__name__)


def check_attributes(active: ModelRecord, other: ModelRecord, bundles_dir: Bundles) -> None:
    """Check that another version's items have the attributes of those of the active one.

    Args:
        active: the active version; if its attributes can't be read there is nothing to compare
            with.
        other: the other one.
        bundles_dir: where published bundles are, of which those are opened that an earlier release
            published.

    Raises:
        RegistryError: attributes are missing or of another kind; clients may filter by them.
        BundleError: the other bundle can't be read.
    """
    after = _kinds(other, bundles_dir)
    try:
        before = _kinds(active, bundles_dir)
    except BundleError as error:
        log.warning("the attributes of the active version can't be read: %s", error)
        return
    problems = [
        f"{name} ({kind})" if name not in after else f"{name} ({kind}, there {after[name]})"
        for name, kind in before.items()
        if after.get(name) != kind
    ]
    if problems:
        raise RegistryError(
            f"version {other.version!r} lacks attributes of {active.version!r}: "
            f"{', '.join(problems)}; requests that name them would be rejected. With `force` it is "
            "done all the same"
        )


def kinds_of(attributes: ItemAttributes) -> dict[str, str]:
    """The kinds of attributes by name, in column order."""
    found = {name: attributes.get(name) for name in attributes.names}
    return {name: attribute.kind for name, attribute in found.items() if attribute}


def _kinds(record: ModelRecord, bundles_dir: Bundles) -> Mapping[str, str]:
    if record.attributes is not None:
        return record.attributes
    # Those at a URL are of later releases.
    folder = record.folder_in(local_folder(bundles_dir), ())
    return kinds_of(Bundle.open(folder, verify=False).attributes)
