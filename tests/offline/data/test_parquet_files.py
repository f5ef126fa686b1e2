"""Parquet that is packed, or damaged, over which polars may panic."""

import gzip
import io
import os
from random import Random

import polars as pl
import pytest

from model_store.errors import InputError
from offline.data.dataset import read_dataset
from offline.data.quiet_panics import quiet_panics
from tests.offline.data.reading import CSV, HISTORIES, histories


def parquet() -> bytes:
    target = io.BytesIO()
    pl.read_csv(CSV.encode()).write_parquet(target)
    return target.getvalue()


def test_packed_parquet_is_read(tmp_path):
    (tmp_path / "mine.parquet.gz").write_bytes(gzip.compress(parquet()))
    assert histories(read_dataset(tmp_path / "mine.parquet.gz")) == HISTORIES


def test_a_panic_of_polars_over_damaged_parquet_is_a_rejection(tmp_path, monkeypatch):
    def panic(*arguments: object, **options: object) -> None:
        raise pl.exceptions.PanicException("left == right\nmore")

    path = tmp_path / "mine.parquet"
    path.write_bytes(parquet())
    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    with pytest.raises(InputError, match=r"mine\.parquet: can't be read \(left == right\)"):
        read_dataset(path)


def test_damaged_parquet_is_read_or_rejected_in_one_line(tmp_path, capfd):
    whole = parquet()
    random = Random(3)
    path = tmp_path / "mine.parquet"
    rejections = []
    for number in range(60):
        damaged = bytearray(whole[: random.randrange(len(whole))] if number % 3 == 0 else whole)
        for _ in range(number % 3):
            # The footer is longer than all else here, so that most changes hit it.
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        try:
            read_dataset(path)
        except InputError as error:
            rejections.append(str(error))
    assert len(rejections) > 30
    assert "\n" not in "".join(rejections)
    assert capfd.readouterr().err == ""


def test_what_is_printed_before_a_panic_goes_with_it_and_all_else_stays(capfd):
    with quiet_panics():
        os.write(2, b"a warning\n")
    with pytest.raises(pl.exceptions.PanicException), quiet_panics():
        os.write(2, b"stack backtrace:\n")
        raise pl.exceptions.PanicException("index out of bounds")
    assert capfd.readouterr().err == "a warning\n"
