"""Loads a version: from a folder to a checked model, or one error."""

from __future__ import annotations

from pathlib import Path

from app.model.background import yield_cpu
from app.model.inference import Provider
from app.model.model import Model, load_model
from model_store.bundle import Bundle
from model_store.errors import BundleError, ConfigError
from model_store.footprint import check_memory, free_memory
from model_store.reading import bundle_errors
from model_store.signatures import ANY_SIGNER, Trust


def load_version(
    folder: Path, version: str, provider: Provider, trust: Trust = ANY_SIGNER
) -> Model:
    """Open the bundle in a folder, check all of it, and make it ready to answer.

    Any exception of a library about a damaged bundle becomes one error here.

    Raises:
        BundleUnavailable: it can't be read now, and may be later: no file, the disk, memory.
        BundleError: it can't be used until somebody changes it, or it isn't signed as asked.
    """
    with bundle_errors(folder, "can't be loaded"):
        bundle = Bundle.open(folder, pause=yield_cpu, trust=trust)
        if bundle.version != version:
            raise BundleError(f"{folder}: holds version {bundle.version}, not {version}")
        check_memory(bundle.manifest, folder, free_memory())
        try:
            return load_model(bundle, provider)
        except ConfigError as error:
            raise BundleError(f"{folder}: {error}") from error
