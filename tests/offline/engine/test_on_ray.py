"""On two local workers of Ray: the same bits as in this process, and nothing is computed twice.

Ray takes some ten seconds to start, so that all tests share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import longtail
from model_store.errors import LongtailError
from offline.encoding import on_engine
from offline.encoding.on_engine import EncoderOnEngine, EncodeTexts
from offline.engine.local import LocalEngine
from offline.engine.on_ray import RayEngine, connected
from tests.offline.encoding.tiny_encoder import make_tiny_bert
from tests.offline.engine.doubled import Doubled, run
from tests.synthetic_bundle import make_bundle

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with connected(2):
        yield
    assert not ray.is_initialized()


def test_parts_come_back_in_order_and_errors_as_their_line(tmp_path: Path) -> None:
    engine = RayEngine(2)
    assert run(engine, Doubled(), tmp_path, 5) == (5, [0, 2, 4, 6, 8])
    assert run(engine, Doubled(), tmp_path, 6) == (1, [0, 2, 4, 6, 8, 10])
    with pytest.raises(LongtailError, match="number 6: is wrong"):
        run(engine, Doubled(wrong=6), tmp_path, 7)


def test_vectors_are_equal_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_engine, "_BATCHES", 2)
    folder = make_tiny_bert(tmp_path / "bert")
    texts = [f"title : {'war ' * (n % 7)}toy story {n % 5}" for n in range(40)]
    work = EncodeTexts(str(folder), tmp_path)
    found = [
        EncoderOnEngine(work, engine, tmp_path / engine.describe()[:7]).encode(texts, 4)
        for engine in (LocalEngine(1), RayEngine(2))
    ]
    np.testing.assert_array_equal(*found)


def test_recommendations_are_equal_and_a_second_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "made-1")
    command = ["recommend-all", "--bundle", str(bundle.folder), "--batch-size", "4"]
    frames = []
    for name, flags in (("local", ["--processes", "1"]), ("ray", ["--engine", "ray"])):
        flags += ["--out", str(tmp_path / name)]
        assert longtail.main([*command, *flags]) == 0
        files = sorted((tmp_path / name).glob("*.parquet"))
        frames.append(pl.concat([pl.read_parquet(file) for file in files]))
    assert frames[1].equals(frames[0])
    files[1].unlink()
    capsys.readouterr()
    assert longtail.main([*command, *flags, "--processes", "2"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("recommended 10 items to 4 users (8 more were there) in ")
    assert line.endswith("users/s, workers of Ray: 2")
    assert pl.read_parquet(files[1]).equals(frames[0][40:80])
