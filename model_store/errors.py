"""Everything that can go wrong in a way a person can act on, as one tree.

    LongtailError
    ├── InputError        a file or a value that somebody gave can't be used
    ├── ConfigError       a setting or a recipe is wrong
    ├── BundleError       a bundle is missing, damaged, or of another schema
    ├── RegistryError     a version is unknown, or not in a state for what was asked
    └── StoreError        the store refused or answered nonsense
        └── StoreAway     the store can't be reached (yet, or any more)

The message is one line that names the thing and the value; commands print it and exit with 1.
"""


class LongtailError(Exception):
    """Root of all errors that a person can cause or mend; the message is one line."""


class InputError(LongtailError):
    """A file or a value that somebody gave can't be used."""


class ConfigError(LongtailError):
    """A setting, a flag or a recipe is wrong."""


class BundleError(LongtailError):
    """A bundle is missing, damaged, or of a schema this version doesn't read."""


class RegistryError(LongtailError):
    """A version is unknown, or not in a state for what was asked."""


class StoreError(LongtailError):
    """The store refused a command or holds something unreadable."""


class StoreAway(StoreError):  # noqa: N818 - reads as a state, not as a fault of the caller
    """The store can't be reached."""
