"""`longtail` on a runtime that takes long: SLOW_LOAD_S for a session, SLOW_BATCH_S for a batch.

SLOW_PROCESS names the only process whose sessions take long, SLOW_BATCH_BEGUN a file that is there
once a batch has begun.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime

import longtail

LARGE_BATCH = 100


class SlowSession(onnxruntime.InferenceSession):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        if os.environ.get("SLOW_PROCESS", here := multiprocessing.current_process().name) == here:
            time.sleep(float(os.environ.get("SLOW_LOAD_S", "0")))
        super().__init__(*args, **options)

    def run(self, outputs: Any, feed: dict[str, Any], *more: Any) -> Any:
        if len(feed.get("history", ())) >= LARGE_BATCH and "SLOW_BATCH_S" in os.environ:
            Path(os.environ["SLOW_BATCH_BEGUN"]).touch()
            time.sleep(float(os.environ["SLOW_BATCH_S"]))
        return super().run(outputs, feed, *more)


# At import, so that worker processes have it too.
onnxruntime.InferenceSession = SlowSession

if __name__ == "__main__":
    sys.exit(longtail.main())
