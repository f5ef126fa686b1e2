"""Records of names beside the default's, in the store."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from model_store import keys
from model_store.deployments import DEFAULT, MAX_DEACTIVATED, MAX_NAMES
from model_store.errors import RegistryError
from model_store.experiment import Arm, Experiment
from model_store.experiment_counts import N_SHARDS
from model_store.registry import Registry
from tests.model_store.test_registry import make_record


@pytest.fixture(autouse=True)
def published(client: redis.Redis) -> None:
    for version in ("made-1", "made-2"):
        Registry(client).add(make_record(version))


def test_there_is_a_limit_of_names_and_of_those_remembered(client: redis.Redis) -> None:
    for n in range(MAX_DEACTIVATED + 3):
        Registry(client, model=f"old-{n:02}").activate("made-1")
        Registry(client, model=f"old-{n:02}").deactivate()
    Registry(client, model="new").activate("made-1")
    kept = Registry(client).deployments()
    assert len(kept.named) == MAX_DEACTIVATED
    assert kept.names == (DEFAULT, "new")
    for n in range(1, MAX_NAMES):
        Registry(client, model=f"more-{n}").activate("made-1")
    ended = next(model for model, record in kept if record.is_deactivated)
    for change in (
        lambda: Registry(client, model="one-too-many").activate("made-1"),
        lambda: Registry(client, model=ended).rollback(),
    ):
        with pytest.raises(RegistryError, match=f"{MAX_NAMES} names besides 'default' have an"):
            change()
    Registry(client, model="new").activate("made-2")


def test_counts_under_a_name_go_with_it(client: redis.Redis) -> None:
    """Nobody can read them then, and who forgets a person doesn't find them."""
    ended = Registry(client, model="z-ended")
    ended.activate("made-1")
    key = keys.experiment_key("@z-ended", N_SHARDS - 1)
    client.hset(key, "u", "of somebody")
    ended.deactivate()
    assert not client.exists(key)
    client.hset(key, "u", "of a worker that was behind")
    for n in range(MAX_DEACTIVATED):
        Registry(client, model=f"later-{n:02}").activate("made-1")
        Registry(client, model=f"later-{n:02}").deactivate()
    assert "z-ended" not in Registry(client).deployments().named
    assert not client.exists(key)


def test_it_is_known_since_when_the_same_versions_answer_the_same_users(
    client: redis.Redis,
) -> None:
    arms = (Arm(name="a", share=50), Arm(name="b", share=50))
    one = Experiment(name="one", salt="s", since="2026-01-01T00:00:00+00:00", arms=arms)
    named = Registry(client, model="m")
    changes: list[tuple[Callable[[], object], int]] = [
        (lambda: named.activate("made-1"), 1),
        (lambda: named.shadow("made-2", 5), 1),
        (lambda: named.canary("made-2", 5), 3),
        (lambda: named.canary("made-2", 10), 4),
        (lambda: named.promote("made-2"), 5),
        (lambda: named.activate("made-1"), 6),
        (lambda: named.start_experiment(one), 7),
        (lambda: named.shadow("made-2", 5), 7),
        (lambda: named.stop_experiment("one"), 9),
        (named.deactivate, 10),
    ]
    for generation, (change, since) in enumerate(changes, start=1):
        change()
        found = named.deployment()
        assert (found.generation, found.answering_since) == (generation, since)


def test_the_record_of_a_name_leaves_all_others_alone(client: redis.Redis) -> None:
    Registry(client).activate("made-1")
    before = client.get(keys.DEPLOYMENT)
    named = Registry(client, "a test", by="eve", model="ratings")
    assert (named.activate("made-2"), named.activate("made-1")) == (None, "made-2")
    named.canary("made-2", 5)
    found = named.deployments()
    assert client.get(keys.DEPLOYMENT) == before
    assert (found.default.generation, found.of("ratings").generation) == (1, 3)
    assert found.names_of("made-1") == [DEFAULT, "ratings"]
    assert found.versions == ("made-1", "made-2")
    assert {entry.who for entry in found.of("ratings").audit} == {"eve"}
    with pytest.raises(RegistryError, match="'made-2' is the canary under the name 'ratings'"):
        named.retire("made-2")
    roles = "is active and is active under the name 'ratings'; activate another one first"
    with pytest.raises(RegistryError, match=f"^version 'made-1' {roles}$"):
        Registry(client).retire("made-1")


def test_a_name_has_the_letters_of_a_version(client: redis.Redis) -> None:
    with pytest.raises(RegistryError, match="model 'a b' must be 1 to 64 of A-Z a-z 0-9"):
        Registry(client, model="a b")


def test_a_record_that_cannot_be_read_is_of_no_other_name(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    Registry(client, model="sound").activate("made-1")
    client.hset(keys.DEPLOYMENTS, "broken", "{")
    found = Registry(client).deployments()
    assert found.names == (DEFAULT, "sound")
    assert "ignoring lt:deployments broken" in caplog.text


def test_experiments_of_two_names_have_two_names(client: redis.Redis) -> None:
    """Their figures lie under the experiment's name."""
    arms = (Arm(name="a", share=50), Arm(name="b", share=50))
    one = Experiment(name="same", salt="s", since="2026-01-01T00:00:00+00:00", arms=arms)
    Registry(client, model="first").activate("made-1")
    Registry(client, model="second").activate("made-1")
    Registry(client, model="first").start_experiment(one)
    with pytest.raises(RegistryError, match="'same' is one of the model 'first'"):
        Registry(client, model="second").start_experiment(one)
    assert Registry(client).deployments().model_of("same") == "first"
    # The experiment ends with the name; its figures are kept for a while, as ever.
    Registry(client, model="first").deactivate()
    assert Registry(client).deployments().of("first").find_experiment("same").stopped
