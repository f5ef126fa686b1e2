"""The generator's process as the trainer starts, replaces and ends it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_store.errors import LongtailError

log = logging.getLogger(__name__)

# Pauses before a process that died is started again.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
MAX_DEATHS = 5
_END_S = 3.0
_LAST_BYTES = 4096


class GeneratorDied(LongtailError):  # noqa: N818 - reads as a state, as StoreAway does
    """The generator's process ended again and again."""


class GeneratorProcess:
    """One process, replaced when it dies.

    Nothing watches it in between calls of `tend`: batches that wait last for a while.

    Args:
        command: its command line.
        log_file: gets what it writes to stderr; emptied first.
        environment: variables that it gets beside those of this process.
    """

    def __init__(
        self, command: Sequence[str], log_file: Path, environment: Mapping[str, str]
    ) -> None:
        self._command, self._log_file, self._environment = command, log_file, environment
        self._log_file.write_bytes(b"")
        self._process: subprocess.Popen[bytes] | None = None
        self._n_deaths = 0
        self._start_at_s = 0.0

    def tend(self) -> None:
        """Start it where it does not run, after a pause where it died.

        Raises:
            GeneratorDied: it did so several times in a row.
        """
        if self._process is not None and self._process.poll() is not None:
            self._bury(self._process)
            self._process = None
        if self._process is None and time.monotonic() >= self._start_at_s:
            self._process = self._launch()

    def has_worked(self) -> None:
        """Told that a batch came from it: its deaths before this are forgiven."""
        self._n_deaths = 0

    def end(self) -> None:
        """End it; it is gone when this returns."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close(self._process)
        self._process = None

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        self._close(process)
        self._n_deaths += 1
        fault = f"ended with exit code {process.returncode}"
        if self._n_deaths >= MAX_DEATHS:
            raise GeneratorDied(
                f"the generator of texts {fault}, for the {self._n_deaths}th time without a "
                f"batch; its last line: {self._last_line()} (see {self._log_file})"
            )
        pause_s = min(FIRST_PAUSE_S * 2 ** (self._n_deaths - 1), LONGEST_PAUSE_S)
        self._start_at_s = time.monotonic() + pause_s
        log.warning(
            "the generator of texts %s; another is started in %.1f s (see %s)",
            *(fault, pause_s, self._log_file),
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log_file.open("ab") as output:
            return subprocess.Popen(
                self._command,
                env={
                    **os.environ,
                    **self._environment,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                stdin=subprocess.PIPE,  # its end tells the process that this one has ended
                stdout=subprocess.DEVNULL,
                stderr=output,
                process_group=0,  # a Ctrl-C ends this process first
            )

    def _last_line(self) -> str:
        with self._log_file.open("rb") as file:
            file.seek(max(0, self._log_file.stat().st_size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return repr(written[-1]) if written else "none"

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
