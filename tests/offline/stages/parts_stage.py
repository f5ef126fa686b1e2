"""A stage that another process runs over and over until it is killed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Artifact, Facts
from offline.stages.stage import Stage, run_stage


@dataclass(frozen=True)
class PartsStage(Stage[Artifact]):
    name = "parts"

    @property
    def artifact(self) -> type[Artifact]:
        return Artifact

    def run(self, folder: Path) -> Facts:
        for part in range(len(list(folder.glob("part*"))), 20):
            (folder / f"part{part}").write_text(str(part))
            time.sleep(0.01)
        return {}


if __name__ == "__main__":
    while True:
        run_stage(PartsStage(), Path(sys.argv[1]))
