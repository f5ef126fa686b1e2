"""Whatever operators ask for in whichever order, the record stays one that workers can follow."""

from __future__ import annotations

from collections.abc import Callable

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_store.deployment import Deployment, now
from model_store.deployments import DEFAULT
from model_store.errors import RegistryError
from model_store.experiment import Experiment
from model_store.registry import Registry
from tests.model_store.test_registry import make_record

VERSIONS = ("v1", "v2", "v3")
versions = st.sampled_from(VERSIONS)
Change = Callable[[Registry], object]


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, str, Change]:
    """A name, what is asked for, and how."""
    model = draw(st.sampled_from([DEFAULT, "other"]))
    version, share = draw(versions), draw(st.sampled_from([0.0, 5.0, 100.0]))
    arms = [
        {"name": "a", "share": 50, "version": draw(st.none() | versions)},
        {"name": "b", "share": 50, "version": draw(st.none() | versions)},
    ]
    name = draw(st.sampled_from(["x", "y"]))
    experiment = Experiment.model_validate(
        {"name": name, "salt": name, "since": now(), "arms": arms}
    )
    kinds: dict[str, Change] = {
        "add": lambda registry: registry.add(make_record(version)),
        "activate": lambda registry: registry.activate(version),
        "promote": lambda registry: registry.promote(version),
        "rollback": lambda registry: registry.rollback(),
        "deactivate": lambda registry: registry.deactivate(),
        "canary": lambda registry: registry.canary(version, share),
        "shadow": lambda registry: registry.shadow(version, share),
        "start": lambda registry: registry.start_experiment(experiment),
        "stop": lambda registry: registry.stop_experiment(name),
        "retire": lambda registry: registry.retire(version),
    }
    kind = draw(st.sampled_from(list(kinds)))
    return model, kind, kinds[kind]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=st.lists(changes(), min_size=5, max_size=30))
def test_no_order_of_changes_leaves_a_record_that_cannot_be_followed(
    client: redis.Redis, asked: list[tuple[str, str, Change]]
) -> None:
    client.flushall()
    for version in VERSIONS:
        Registry(client).add(make_record(version))
    before = Registry(client).deployments()
    for model, kind, change in asked:
        registry = Registry(client, model=model)
        try:
            change(registry.dry())
            is_allowed = True
        except RegistryError:
            is_allowed = False
        if kind != "add":
            assert registry.deployments() == before  # a dry one changes nothing
        try:
            change(registry)
            assert is_allowed
        except RegistryError:
            assert not is_allowed
        after = registry.deployments()
        published = {record.version for record in registry.records()}
        for name, record in after:
            check(record, published)
            follows(record, before.of(name))
        before = after


def check(record: Deployment, published: set[str]) -> None:
    assert set(record.versions) <= published
    assert record.active not in record.previous[:1]
    if record.active is None:
        assert record.canary is record.shadow is record.experiment is None
    if record.canary is not None:
        assert record.canary.version != record.active
        assert not (record.experiment and record.experiment.versions)
    if record.shadow is not None:
        assert record.shadow.version not in record.answering
    assert sum(one.stopped is None for one in record.experiments) <= 1


def follows(record: Deployment, before: Deployment) -> None:
    """Each change is one generation and one entry, and a rejected one is none."""
    if record == before:
        return
    assert record.generation == before.generation + 1
    assert record.audit[0].generation == record.generation
    assert record.audit[1:] == before.audit[: len(record.audit) - 1]
    if record.split != before.split:
        assert record.answering_since == record.generation
