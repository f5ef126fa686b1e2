"""`longtail publish`: what a person reads who is about to serve a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

import longtail
from model_store.embedded import EmbeddedStore
from tests.synthetic_bundle import make_bundle


@pytest.mark.parametrize("ndcg", [0.1, 0.3])
def test_a_model_below_a_baseline_is_warned_of(
    ndcg: float,
    tmp_path: Path,
    store: EmbeddedStore,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    figures = {"made": ndcg, "markov": 0.2}
    models = {name: {"test": {"all": {"ndcg_at_10": one}}} for name, one in figures.items()}
    bundle = make_bundle(tmp_path / "bundle", with_encoder=False, report={"models": models})
    assert longtail.main(["publish", "--bundle", str(bundle.folder)]) == 0
    said = capsys.readouterr().out
    assert "published made-1" in said
    assert ("WARNING: made is below markov" in said) == (ndcg < 0.2)
