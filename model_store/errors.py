"""Everything that can go wrong in a way a person can act on, as one tree.

    LongtailError
    ├── InputError        a file or a value that somebody gave can't be used
    │   └── InvalidField      a field of a request can't be used
    ├── ConfigError       a setting or a recipe is wrong
    ├── BundleError       a bundle is damaged, or of another schema
    │   └── BundleUnavailable   it can't be read just now; it may be possible later
    ├── RegistryError     a version is unknown, or not in a state for what was asked
    ├── NotReady          no model is loaded that could answer
    └── StoreError        the store refused or answered nonsense
        └── StoreAway     the store can't be reached (yet, or any more)

The message is one line that names the thing and the value; commands print it and exit with 1.
"""

from __future__ import annotations


class LongtailError(Exception):
    """Root of all errors that a person can cause or mend; the message is one line."""


class InputError(LongtailError):
    """A file or a value that somebody gave can't be used."""


class InvalidField(InputError):  # noqa: N818 - names what it is about
    """A field of a request can't be used.

    Attributes:
        field: its path in the request, as in `filters.year.any`.
        value: what was given.
        message: what is wrong with it.
    """

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.value, self.message = field, value, message

    def within(self, place: str) -> InvalidField:
        """The same error, named from outside: `place` comes before the field."""
        return InvalidField(f"{place}.{self.field}", self.value, self.message)


class ConfigError(LongtailError):
    """A setting, a flag or a recipe is wrong."""


class BundleError(LongtailError):
    """A bundle is damaged, or of a schema this version doesn't read."""


class BundleUnavailable(BundleError):  # noqa: N818 - reads as a state, as StoreAway does
    """A bundle can't be read just now: it is not there (yet), or the disk or memory fails."""


class RegistryError(LongtailError):
    """A version is unknown, or not in a state for what was asked."""


class NotReady(LongtailError):  # noqa: N818 - reads as a state, not as a fault of the caller
    """No model is loaded that could answer."""


class StoreError(LongtailError):
    """The store refused a command or holds something unreadable."""


class StoreAway(StoreError):  # noqa: N818 - reads as a state, not as a fault of the caller
    """The store can't be reached."""
