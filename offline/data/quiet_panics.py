"""Keeps the stack traces of polars' panics from stderr: a damaged file is worth one clear line."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Within, what is written to stderr waits; it is dropped where polars panics.

    polars' threads write to the file descriptor, past `sys.stderr`. Keep the block short.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as waiting:
        os.dup2(waiting.fileno(), 2)
        is_panic = False
        try:
            yield
        except pl.exceptions.PanicException:
            is_panic = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if not is_panic:
                waiting.seek(0)
                with open(2, "wb", closefd=False) as stderr:
                    shutil.copyfileobj(waiting, stderr)
