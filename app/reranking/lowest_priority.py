"""Runs a program at the lowest priority from its first instruction on.

    python -I -S lowest_priority.py PROGRAM ARGUMENT...

Python takes a quarter of a second to start a process like the reranker's. Priority that the process
lowers itself comes after that, and requests would wait meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

LOWEST_NICENESS = 19
# Where Linux groups processes by session, a group is as heavy as any other unless this says so.
GROUP = Path("/proc/self/autogroup")
# A tenth of the usual weight. With less, other work on the machine would keep it from loading.
GROUP_NICENESS = 10


def lower_priority() -> None:
    """Run only when nothing else wants the CPU (Linux), or after everything else.

    The scheduling class counts among the processes of one group, and Linux makes each session a
    group, unless control groups divide the processes already. So next to a service, the process
    belongs into the service's session: a core passes to a request at once. A session of its own
    gets a low weight among the others; requests of other sessions then wait for the end of a slice.
    """
    if hasattr(os, "getsid") and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # not Linux, or without groups
            GROUP.write_text(str(GROUP_NICENESS))
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # not Linux, or a sandbox
        with contextlib.suppress(OSError):
            os.nice(LOWEST_NICENESS)


if __name__ == "__main__":
    lower_priority()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the caller's own command
