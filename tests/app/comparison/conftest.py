"""A shadow that is given time."""

from __future__ import annotations

import pytest

from app.comparison import shadow
from tests.app.conftest import PATIENCE_S


@pytest.fixture(autouse=True)
def shadows_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waited for the shadow for a second is dropped, as it is on a busy machine."""
    monkeypatch.setattr(shadow, "MAX_AGE_S", PATIENCE_S)
