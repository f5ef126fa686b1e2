"""From an empty store: what is clicked comes back into the model, which follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app import service
from examples.loop.policies import K
from examples.loop.run import FROZEN, LOOP, POPULARITY, TRUTH, Simulation
from examples.loop.world import World
from tests.examples.shop_in_process import ShopInProcess

pytestmark = pytest.mark.slow

# All visit every day and many find something, so that a refresh and three days show the difference.
WORLD = World(
    users=1200, items=400, kinds=10, days=6, earlier_days=5, seed=0, visits=1.0, finds=0.6
)
PERIOD = 3
# So wide that a refresh is promoted also where another CPU rounds otherwise.
MARGIN = 0.25


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three days, a refresh and a shift, three days."""
    folder = tmp_path_factory.mktemp("loop")
    return Simulation(WORLD, folder, PERIOD, MARGIN, shop=ShopInProcess).run()


def test_the_refreshed_service_is_ahead_of_popularity_and_of_none(found: dict[str, Any]) -> None:
    assert [one["outcome"] for one in found["refreshes"]] == ["promoted"]
    first, last = found["rates"]
    # Until then both services answer alike; small differences are those of two processes.
    assert first[LOOP]["value"] == pytest.approx(first[FROZEN]["value"], abs=0.005)
    assert found["last_period"][f"{LOOP} - {POPULARITY}"]["low"] > 0
    assert found["last_period"][f"{LOOP} - {FROZEN}"]["low"] > 0
    assert last[LOOP]["low"] > first[LOOP]["high"]
    assert last[TRUTH]["low"] > last[LOOP]["high"]


def test_a_taste_that_shifts_is_followed(found: dict[str, Any]) -> None:
    """Others have a kind that they would have liked after a shift: they are shown less of it."""
    last = found["shift"]["shown"][-1]
    assert last["new_kind"]["low"] > last["without_shift"]["high"]


def test_every_exposure_and_click_is_archived_once(found: dict[str, Any]) -> None:
    visits = sum(len(WORLD.visitors(day)) for day in range(WORLD.days))
    assert found["counted"]["exposures"] == K * visits
    assert found["archived"] == found["counted"]


def test_what_was_shown_last_is_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is slower to write it than the days pass."""
    monkeypatch.setattr(service, "EXPOSURES_WRITE_S", 60.0)
    world = World(users=100, items=40, kinds=3, days=1, earlier_days=3, seed=0, visits=1.0)
    found = Simulation(world, tmp_path, PERIOD, MARGIN, shop=ShopInProcess).run()
    assert found["counted"]["exposures"] == K * world.users
    assert found["archived"] == found["counted"]
