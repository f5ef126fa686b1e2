"""Clicks by version where there are none: no exposures are kept, or no such name."""

from __future__ import annotations

import redis
from starlette.testclient import TestClient

from app.deployment.routing import is_sampled
from tests.app.conftest import AS_ADMIN
from tests.app.deployment.experiment_calls import USERS, ask, click, clicks_by_version


def test_nothing_is_counted_where_exposures_are_not_kept(
    pair: list[TestClient], server: redis.Redis
) -> None:
    answer = ask(pair[0], next(filter(is_sampled, USERS))).json()
    click(pair[0], answer, 1)
    found = clicks_by_version(pair)
    assert (found["share"], found["since"], found["versions"]) == (0.0, None, [])
    assert not list(server.scan_iter("lt:experiment:@*"))


def test_a_name_without_a_version_is_named(pair: list[TestClient]) -> None:
    answer = pair[0].get("/admin/clicks?model=other", headers=AS_ADMIN)
    assert answer.status_code == 404
    assert "'other'" in answer.json()["detail"]
