"""A registered model of MLflow: a model version is a bundle.

The client is mlflow-skinny; MLFLOW_TRACKING_URI says where, and credentials are its own settings.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.exchange.place import CARD, Pushed, errors_of, files_of
from model_store.manifest import Manifest
from model_store.signatures import SIGNATURE, read_signature

SCHEME = "mlflow:"
PACKAGE = "pip install 'longtail[mlflow]'"
EXPERIMENT = "longtail"
VERSION_TAG, DIGEST_TAG = "longtail.version", "longtail.manifest_sha256"
_FOLDER = "bundle"
_PLACE = re.compile(r"mlflow:([\w .-]{1,200})(?:/([1-9]\d*)|@([\w.-]+))?")


@dataclass(frozen=True)
class MlflowPlace:
    """A registered model.

    Attributes:
        name: of the registered model.
        number: of a model version; None: the newest one, unless there is an alias.
        alias: of a model version.
    """

    name: str
    number: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> MlflowPlace:
        """Read `mlflow:NAME`, `mlflow:NAME/NUMBER` or `mlflow:NAME@ALIAS`.

        Raises:
            ConfigError: it is none of these.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"{text[:200]!r}: must be mlflow:NAME, mlflow:NAME/NUMBER or mlflow:NAME@ALIAS"
            )
        return cls(found[1], int(found[2]) if found[2] else None, found[3])

    def __str__(self) -> str:
        which = f"/{self.number}" if self.number else f"@{self.alias}" if self.alias else ""
        return f"{SCHEME}{self.name}{which}"

    def push(self, bundle: Bundle, card: str) -> Pushed:
        """Log a run with the files and metrics, and register what it holds.

        Raises:
            ConfigError: the place names a model version, which MLflow numbers itself.
        """
        if self.number:
            raise ConfigError(f"{self}: MLflow numbers versions itself; push to mlflow:{self.name}")
        with errors_of(self):
            client = _client(self)
            digest = hashlib.sha256(Manifest.read(bundle.folder / MANIFEST)).hexdigest()
            there = self._find(client, bundle.version, digest)
            if there is not None:
                got_signature = self._add_signature(client, there, bundle, card)
                self._point(client, there)
                where = f"{SCHEME}{self.name}/{there}"
                return Pushed(where, was_there=True, got_signature=got_signature)
            tags = {VERSION_TAG: bundle.version, DIGEST_TAG: digest}
            experiment = client.get_experiment_by_name(EXPERIMENT)
            experiment_id = (
                experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
            )
            run = client.create_run(experiment_id, run_name=bundle.version, tags=tags).info
            is_whole = False
            try:
                for path in files_of(bundle).values():
                    client.log_artifact(run.run_id, str(path), _FOLDER)
                client.log_text(run.run_id, card, f"{_FOLDER}/{CARD}")
                for name, value in bundle.manifest.metrics.items():
                    client.log_metric(run.run_id, name, value)
                is_whole = True
            finally:
                client.set_terminated(run.run_id, "FINISHED" if is_whole else "FAILED")
            if not self._versions(client):
                self._register(client)
            made = client.create_model_version(
                self.name,
                source=f"{run.artifact_uri}/{_FOLDER}",
                run_id=run.run_id,
                tags=tags,
                description=card,
            )
            self._point(client, int(made.version))
        return Pushed(f"{SCHEME}{self.name}/{made.version}")

    def look(self) -> MlflowSnapshot:
        """The files of the model version."""
        with errors_of(self):
            client = _client(self)
            number = self.number
            if self.alias:
                number = int(client.get_model_version_by_alias(self.name, self.alias).version)
            if number is None:
                number = max((int(one.version) for one in self._versions(client)), default=None)
            if number is None:
                raise BundleUnavailable(f"{self}: no model version is registered")
            return self._snapshot(client, number)

    def _snapshot(self, client: Any, number: int) -> MlflowSnapshot:
        uri = client.get_model_version_download_uri(self.name, str(number))
        return MlflowSnapshot(f"{SCHEME}{self.name}/{number}", uri)

    def _versions(self, client: Any) -> list[Any]:
        found, token = [], None
        while True:
            page = client.search_model_versions(f"name='{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _find(self, client: Any, version: str, digest: str) -> int | None:
        """The model version with a bundle; None if it isn't there.

        Raises:
            BundleError: another bundle has its version there.
        """
        for one in self._versions(client):
            if one.tags.get(VERSION_TAG) != version:
                continue
            if one.tags.get(DIGEST_TAG) == digest:
                return int(one.version)
            raise BundleError(
                f"{SCHEME}{self.name}/{one.version}: another bundle has the version {version!r} "
                "there already; `longtail bundle sign … --version` gives this one another"
            )
        return None

    def _add_signature(self, client: Any, number: int, bundle: Bundle, card: str) -> bool:
        """Log a bundle's signature, if it has one that isn't there; whether it was logged."""
        signature = read_signature(bundle.folder)
        if signature in {None, self._signature(client, number)}:
            return False
        run_id = client.get_model_version(self.name, str(number)).run_id
        client.update_model_version(self.name, str(number), card)
        client.log_text(run_id, card, f"{_FOLDER}/{CARD}")
        client.log_artifact(run_id, str(bundle.folder / SIGNATURE), _FOLDER)
        return True

    def _signature(self, client: Any, number: int) -> bytes | None:
        snapshot = self._snapshot(client, number)
        if SIGNATURE not in snapshot.names:
            return None
        with TemporaryDirectory() as folder:
            snapshot.fetch([SIGNATURE], Path(folder))
            return read_signature(Path(folder))

    def _register(self, client: Any) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _point(self, client: Any, number: int) -> None:
        """Have the alias that the place names, if any, mean this model version."""
        if self.alias:
            client.set_registered_model_alias(self.name, self.alias, str(number))


class MlflowSnapshot:
    """The files of one model version.

    Args:
        place: for messages.
        uri: of its artifacts.
    """

    def __init__(self, place: str, uri: str) -> None:
        self._place, self._uri = place, uri
        with errors_of(place):
            from mlflow.artifacts import list_artifacts

            found = list_artifacts(artifact_uri=uri)
            self.names = frozenset(one.path.rpartition("/")[2] for one in found if not one.is_dir)

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Download some files."""
        for name in names:
            with errors_of(f"{self._place}: {name}"):
                from mlflow.artifacts import download_artifacts

                download_artifacts(artifact_uri=f"{self._uri}/{name}", dst_path=str(folder))


def _client(place: object) -> Any:
    """The client, with the settings of now."""
    # It is read when the library is loaded.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise ConfigError(f"{place}: MLflow's client is not installed; {PACKAGE}") from None
    return MlflowClient()
