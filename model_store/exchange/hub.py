"""A repository on a Hugging Face hub: a commit is a bundle, and its version a tag.

The client is huggingface_hub, which has its own settings: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.exchange.place import CARD, Pushed, errors_of, files_of, is_same
from model_store.manifest import Manifest
from model_store.signatures import SIGNATURE, read_signature

SCHEME = "hf://"
PACKAGE = "pip install 'longtail[hub]'"
_PLACE = re.compile(r"hf://([\w.-]+/[\w.-]+?)/?(?:@([\w.][\w./-]*))?")


@dataclass(frozen=True)
class HubPlace:
    """A repository of the kind `model`.

    Attributes:
        repository: `owner/name`.
        revision: a tag, branch or commit; None: the main branch.
        public: whether a push may go to a repository that everybody can read.
    """

    repository: str
    revision: str | None = None
    public: bool = False

    @classmethod
    def parse(cls, text: str, *, public: bool = False) -> HubPlace:
        """Read `hf://OWNER/NAME[@REVISION]`.

        Raises:
            ConfigError: it is none.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"{text[:200]!r}: must be hf://OWNER/NAME or hf://OWNER/NAME@REVISION"
            )
        return cls(found[1], found[2], public)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}{f'@{self.revision}' if self.revision else ''}"

    def push(self, bundle: Bundle, card: str) -> Pushed:
        """Make a commit on the main branch, or the branch that is named, and tag it.

        A repository that isn't there is made, for its owner alone.
        """
        where = f"{SCHEME}{self.repository}@{bundle.version}"
        with errors_of(self):
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            api = _client(self)
            api.create_repo(self.repository, private=True, exist_ok=True)
            if not self.public and not api.model_info(self.repository).private:
                raise BundleError(
                    f"{self}: everybody can read this repository, and a bundle may hold the "
                    "histories of users; --public pushes it anyway"
                )
            # Before anything else is read: what is decided by it holds of this commit alone.
            head = api.model_info(self.repository, revision=self._branch).sha
            if self._tagged(api, bundle, where):
                got_signature = self._add_signature(api, bundle, card, where, head)
                return Pushed(where, was_there=True, got_signature=got_signature)
            files = files_of(bundle)
            left = self._left_of_the_last(api, bundle, head) - files.keys()
            operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
            operations.append(CommitOperationAdd(CARD, card.encode()))
            operations += [CommitOperationDelete(name) for name in sorted(left)]
            made = self._commit(api, operations, f"Bundle {bundle.version}", head)
            api.create_tag(self.repository, tag=bundle.version, revision=made)
        return Pushed(where)

    @property
    def _branch(self) -> str:
        """That is pushed to."""
        return self.revision or "main"

    def _commit(self, api: Any, operations: list[Any], message: str, head: str) -> str:
        """Make a commit on top of another, and on nothing that came since; its id.

        Raises:
            BundleUnavailable: the branch is at another commit by now.
        """
        from huggingface_hub.errors import HfHubHTTPError

        try:
            made = api.create_commit(
                self.repository,
                operations,
                commit_message=message,
                revision=self._branch,
                parent_commit=head,
            )
        except HfHubHTTPError as error:
            if error.response.status_code != HTTPStatus.PRECONDITION_FAILED:
                raise
            raise BundleUnavailable(
                f"{self}: somebody else pushed to {self._branch} meanwhile; push again"
            ) from None
        return str(made.oid)

    def look(self) -> HubSnapshot:
        """The commit that the revision is now."""
        with errors_of(self):
            api = _client(self)
            info = api.model_info(self.repository, revision=self.revision)
            names = frozenset(one.rfilename for one in info.siblings or ())
            if not info.sha:
                raise BundleUnavailable(f"{self}: has no commit")
            return HubSnapshot(str(self), self.repository, info.sha, names)

    def _tagged(self, api: Any, bundle: Bundle, where: str) -> bool:
        """Whether the bundle is there under its version already."""
        refs = api.list_repo_refs(self.repository)
        if bundle.version not in {tag.name for tag in refs.tags}:
            return False
        if is_same(self._manifest(api, bundle.version), bundle, where):
            return True
        raise BundleError(f"{where}: the tag is another bundle's")

    def _left_of_the_last(self, api: Any, bundle: Bundle, head: str) -> set[str]:
        """Files of the bundle that a commit holds; others, as a licence, are nobody's.

        Raises:
            BundleError: it is another one of the same version.
        """
        names = set(api.list_repo_files(self.repository, revision=head))
        if MANIFEST not in names:
            return set()
        content = self._manifest(api, head)
        is_same(content, bundle, str(self))
        return names & {*Manifest.parse(content, f"{self}: {MANIFEST}").files, SIGNATURE}

    def _add_signature(self, api: Any, bundle: Bundle, card: str, where: str, head: str) -> bool:
        """Have the tag mean a commit with the bundle's signature, if it has one; whether it is new.

        A kill between the steps leaves what the next push goes on with.

        Raises:
            BundleError: the branch holds another bundle now, which the signature is not of.
        """
        from huggingface_hub import CommitOperationAdd

        signature = read_signature(bundle.folder)
        if signature in {None, self._signature(api, bundle.version)}:
            return False
        if self._manifest(api, head) != Manifest.read(bundle.folder / MANIFEST):
            raise BundleError(
                f"{where}: is there without this signature, and {self._branch} holds another "
                "bundle now; `longtail bundle sign … --version` gives this one another version"
            )
        files = {SIGNATURE: signature, CARD: card.encode()}
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        made = self._commit(api, operations, f"Signature of bundle {bundle.version}", head)
        api.delete_tag(self.repository, tag=bundle.version)
        api.create_tag(self.repository, tag=bundle.version, revision=made)
        return True

    def _signature(self, api: Any, revision: str) -> bytes | None:
        if SIGNATURE not in api.list_repo_files(self.repository, revision=revision):
            return None
        with TemporaryDirectory() as folder:
            api.hf_hub_download(self.repository, SIGNATURE, revision=revision, local_dir=folder)
            return read_signature(Path(folder))

    def _manifest(self, api: Any, revision: str) -> bytes:
        with TemporaryDirectory() as folder:
            api.hf_hub_download(self.repository, MANIFEST, revision=revision, local_dir=folder)
            return Manifest.read(Path(folder) / MANIFEST)


@dataclass(frozen=True)
class HubSnapshot:
    """One commit."""

    place: str
    repository: str
    commit: str
    names: frozenset[str]

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Download some files; the client goes on where an earlier download ended."""
        api = _client(self.place)
        for name in names:
            with errors_of(f"{self.place}: {name}"):
                api.hf_hub_download(self.repository, name, revision=self.commit, local_dir=folder)


def _client(place: object) -> Any:
    """The client, with the settings of now."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ConfigError(f"{place}: the hub's client is not installed; {PACKAGE}") from None
    return HfApi(os.environ.get("HF_ENDPOINT"), library_name="longtail")
