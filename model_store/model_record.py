"""What the registry knows of a published version."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from model_store.errors import BundleUnavailable
from model_store.remote_bundles import Bundles, RemoteBundles, is_url


class ModelRecord(BaseModel):
    """A published version in the registry."""

    model_config = ConfigDict(frozen=True)

    version: str
    model: str
    bundle: str
    published_at: str
    created_at: str
    n_items: int
    n_users: int
    encoder: str | None
    code_revision: str
    metrics: dict[str, float]
    memory_bytes: int | None = Field(None, description="about what a worker takes to hold it")
    attributes: dict[str, str] | None = Field(
        None, description="kinds of its items' attributes by name; null from earlier releases"
    )

    def folder_in(self, bundles: Bundles, spared: Collection[str]) -> Path:
        """The folder of its bundle: among the published ones, else where it was published from.

        A version at a URL is downloaded unless it is in the cache, where `spared` must stay.

        Raises:
            BundleUnavailable: it can't be downloaded, or was published to a URL that isn't the
                one of the settings.
        """
        if isinstance(bundles, RemoteBundles):
            return bundles.fetch(self.version, spared)
        folder = bundles / self.version
        if folder.is_dir():
            return folder
        if is_url(self.bundle):
            raise BundleUnavailable(
                f"version {self.version!r} is not in {bundles}; it was published to {self.bundle}, "
                "which LONGTAIL_BUNDLES_DIR could name"
            )
        return Path(self.bundle)
