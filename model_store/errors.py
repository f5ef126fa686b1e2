"""Errors that a person can cause or fix, as one tree.

    LongtailError
    ├── InputError        a given file or value can't be used
    │   └── InvalidField      a field of a request can't be used
    ├── ConfigError       a setting or a recipe is wrong
    ├── BundleError       a bundle is damaged, or of another schema
    │   └── BundleUnavailable   it can't be read now; a later attempt may succeed
    ├── RegistryError     a version is in the wrong state for the command
    │   ├── UnknownVersion    it isn't published
    │   ├── UnknownModel      no version is active under the name
    │   ├── RolloutInProgress another version is being brought to the workers
    │   ├── UnknownExperiment there is none of this name
    │   └── WrongKind         its kind of model doesn't answer such requests
    ├── NotReady          no model is loaded that could answer
    └── StoreError        the store rejected a command or holds something unreadable
        └── StoreAway     the store can't be reached (yet, or any more)

The message is one line that names the thing and the value; commands print it and exit with 1.
"""

from __future__ import annotations


class LongtailError(Exception):
    """Root of all errors that a person can cause or fix; the message is one line."""


class InputError(LongtailError):
    """A given file or value can't be used."""


class InvalidField(InputError):  # noqa: N818 - names its subject
    """A field of a request can't be used.

    Attributes:
        field: its path in the request, as in `filters.year.any`.
        value: the given value.
        message: its fault.
    """

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.value, self.message = field, value, message


class ConfigError(LongtailError):
    """A setting, a flag or a recipe is wrong."""


class BundleError(LongtailError):
    """A bundle is damaged, or of a schema this version doesn't read."""


class BundleUnavailable(BundleError):  # noqa: N818 - reads as a state, as StoreAway does
    """A bundle can't be read just now: it is not there (yet), or the disk or memory fails."""


class RegistryError(LongtailError):
    """A version is unknown, or in the wrong state for the command."""


class ServiceAway(RegistryError):  # noqa: N818 - reads as a state, as StoreAway does
    """A running service can't be asked, or says that it can't answer just now."""


class UnknownVersion(RegistryError):  # noqa: N818 - reads as a state, as NotReady does
    """A version isn't published."""


class UnknownModel(RegistryError):  # noqa: N818 - reads as a state, as UnknownVersion does
    """No version is active under a name."""


class RolloutInProgress(RegistryError):  # noqa: N818 - reads as a state, as NotReady does
    """Another version is being brought to the workers; a later attempt may succeed."""


class UnknownExperiment(RegistryError):  # noqa: N818 - reads as a state, as UnknownVersion does
    """There is no experiment of this name."""


class WrongKind(RegistryError):  # noqa: N818 - reads as a state, as UnknownVersion does
    """A version's kind of model doesn't answer such requests."""


class NotReady(LongtailError):  # noqa: N818 - reads as a state, not as a fault of the caller
    """No model is loaded that could answer."""


class StoreError(LongtailError):
    """The store rejected a command or holds something unreadable."""


class StoreAway(StoreError):  # noqa: N818 - reads as a state, not as a fault of the caller
    """The store can't be reached."""
