"""Errors of a load test that a person can cause or fix; each message is one line.

The load generator knows the service from outside only, so it has a small tree of its own instead
of the one that the other packages share.
"""


class LoadTestError(Exception):
    """Root of all errors that a person can cause or fix."""


class TargetError(LoadTestError):
    """The service can't be reached, isn't ready, or must not get load."""


class WorkloadError(LoadTestError):
    """A workload can't be created or read."""
