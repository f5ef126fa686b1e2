"""Progress for anything over two seconds, on stderr: label, count, rate and time left.

A terminal gets one line that is redrawn. A log file gets a new line about every minute, so that it
stays readable and still shows that the run is alive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_S = 60.0
REDRAW_INTERVAL_S = 0.2
BYTES_UNIT = "B"


class _Shown:
    """Whether another process shows the progress of what is done in this one."""

    by_another = False


def leave_to_another() -> None:
    """Show no progress in this process: another one shows that of the whole."""
    _Shown.by_another = True


class _RedrawnLine(tqdm):  # type: ignore[misc]  # tqdm is untyped
    """tqdm without its monitor thread, which would outlive what it watches."""

    monitor_interval = 0


class _Nothing:
    """For a process whose work another one shows."""

    def update(self, n: int) -> None: ...

    def set_postfix_str(self, note: str, refresh: bool = False) -> None: ...

    def close(self) -> None: ...


class _LogLines:
    """The same figures as tqdm's, each state as a whole line."""

    def __init__(self, label: str, total: int | None, unit: str, stream: TextIO) -> None:
        self._label, self._total, self._unit, self._stream = label, total, unit, stream
        self._n = 0
        self._note: str | None = None
        self._started_s = self._written_s = time.monotonic()
        self._last_line = ""
        self._write()

    def update(self, n: int) -> None:
        self._n += n
        if time.monotonic() - self._written_s >= LOG_INTERVAL_S:
            self._write()

    def set_postfix_str(self, note: str, refresh: bool = False) -> None:
        self._note = note
        if refresh:
            self._write()

    def close(self) -> None:
        self._write()

    def _write(self) -> None:
        self._written_s = time.monotonic()
        line = tqdm.format_meter(
            n=self._n,
            total=self._total,
            elapsed=self._written_s - self._started_s,
            prefix=self._label,
            unit=self._unit,
            unit_scale=self._unit == BYTES_UNIT,
            postfix=self._note,
            bar_format=None
            if self._total is None
            else "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )
        if line != self._last_line:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._last_line = line


class Progress:
    """Counts towards a total; a context manager.

    `unit` "B" is shown in kB, MB and so on. `total` None shows count and rate alone.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "it",
        stream: TextIO | None = None,
    ) -> None:
        is_given = stream is not None
        stream = sys.stderr if stream is None else stream
        self._bar: Any
        if _Shown.by_another and not is_given:
            self._bar = _Nothing()
        elif stream.isatty():
            self._bar = _RedrawnLine(
                desc=label,
                total=total,
                unit=unit,
                unit_scale=unit == BYTES_UNIT,
                file=stream,
                miniters=1,
                mininterval=REDRAW_INTERVAL_S,
                dynamic_ncols=True,
            )
        else:
            self._bar = _LogLines(label, total, unit, stream)

    def advance(self, n: int = 1, note: str | None = None) -> None:
        """Count `n` more as done; `note`, such as a loss, is shown after the figures."""
        if note is not None:
            self.note(note)
        self._bar.update(n)

    def note(self, note: str) -> None:
        """Exchange the note."""
        self._bar.set_postfix_str(note, refresh=False)

    def close(self) -> None:
        """Show the last state and end the line."""
        self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def announce(line: str, stream: TextIO | None = None) -> None:
    """Write a line on stderr above whatever progress is shown there."""
    tqdm.write(line, file=sys.stderr if stream is None else stream)


def track(
    iterable: Iterable[T], label: str, total: int | None = None, unit: str = "it"
) -> Iterator[T]:
    """Yield what `iterable` yields and show progress; `total` is its length where it has one."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(label, total, unit) as progress:
        for element in iterable:
            yield element
            progress.advance()
