"""What can go wrong in a load test in a way a person can act on; the message is one line.

The load generator knows the service from outside only, so it has a small tree of its own
instead of the one the rooms share.
"""


class LoadTestError(Exception):
    """Root of all errors that a person can cause or mend."""


class TargetError(LoadTestError):
    """The service can't be reached, isn't ready, or may not be loaded."""


class WorkloadError(LoadTestError):
    """A workload can't be made or read."""
