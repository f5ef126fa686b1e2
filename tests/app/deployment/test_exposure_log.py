"""Answers on their way to the log of exposures: the wanted share of them, and none is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.deployment import exposure_log
from app.deployment.exposure_log import ExposureLog
from app.store.connection import Command
from model_store.deployments import DEFAULT
from model_store.errors import StoreAway, StoreError
from model_store.exposure_log import (
    Exposure,
    decode_exposures,
    exposure_keys,
)


def answers_in(commands: list[Command]) -> list[Exposure]:
    documents: Any = [command[-1] for command in commands]
    return [shown for one in documents for shown in decode_exposures({b"b": one})]


def users_in(commands: list[Command]) -> list[str]:
    return sorted(shown.user_id or "" for shown in answers_in(commands))


class Kept:
    """A log that keeps commands, or fails."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.error: Exception | None = None

    async def write(self, commands: list[Command]) -> dict[int, StoreError]:
        self.commands += commands
        if self.error is not None:
            raise self.error
        return {}


def answer_to(user_id: str, request_id: str) -> dict[str, Any]:
    return {
        "request_id": request_id, "user_id": user_id, "model_version": "v1", "arm": "b",
        "served_by": "model", "items": [{"item_id": "i1"}, {"item_id": "i2"}],
    }  # fmt: skip


def test_the_share_is_of_the_requests_by_their_ids() -> None:
    kept = Kept()
    lost: list[int] = []
    log = ExposureLog(kept, 0.25, 1_000, lost.append)  # type: ignore[arg-type]
    for number in range(2_000):
        log.note(answer_to("u1", f"r{number}"), DEFAULT)
    asyncio.run(log.write())
    assert 400 < len(answers_in(kept.commands)) < 600
    again = ExposureLog(Kept(), 0.25, 1_000, lost.append)  # type: ignore[arg-type]
    for number in range(2_000):
        again.note(answer_to("u1", f"r{number}"), DEFAULT)
    assert len(again._waiting) == len(answers_in(kept.commands))
    assert lost == []


def test_what_the_store_does_not_take_waits_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure_log, "MAX_WAITING", 3)
    kept = Kept()
    lost: list[int] = []
    log = ExposureLog(kept, 1.0, 1_000, lost.append)  # type: ignore[arg-type]
    kept.error = StoreAway("the store is away")
    for number in range(5):
        log.note(answer_to(f"u{number}", f"r{number}"), DEFAULT)
    with pytest.raises(StoreAway):
        asyncio.run(log.write())
    assert lost == [1, 1]
    assert log.user_ids == {"u0", "u1", "u2"}
    log.drop(["u1"])
    kept.error, kept.commands = None, []
    asyncio.run(log.write())
    assert users_in(kept.commands) == ["u0", "u2"]
    assert log.user_ids == set()


def test_a_user_is_dropped_also_from_what_is_being_sent() -> None:
    class Away:
        async def write(self, _commands: list[Command]) -> dict[int, StoreError]:
            assert log.user_ids == {"u1", "u2"}
            log.drop(["u1"])
            raise StoreAway("the store is away")

    log = ExposureLog(Away(), 1.0, 1_000, [].append)  # type: ignore[arg-type]
    for user_id in ("u1", "u2"):
        log.note(answer_to(user_id, "r"), DEFAULT)
    with pytest.raises(StoreAway):
        asyncio.run(log.write())
    assert log.user_ids == {"u2"}


@pytest.mark.parametrize("error", [StoreAway("away"), OSError("no file"), RuntimeError("a bug")])
def test_whatever_keeps_answers_from_being_written_takes_none_away(error: Exception) -> None:
    kept = Kept()
    log = ExposureLog(kept, 1.0, 1_000, [].append)  # type: ignore[arg-type]
    for user_id in ("u1", "u2"):
        log.note(answer_to(user_id, "r"), DEFAULT)
    kept.error = error
    with pytest.raises(type(error)):
        asyncio.run(log.write())
    assert log.user_ids == {"u1", "u2"}
    kept.error, kept.commands = None, []
    asyncio.run(log.write())
    assert users_in(kept.commands) == ["u1", "u2"]


def test_what_comes_while_others_are_written_waits_for_the_next_time() -> None:
    """A busy service would else write an entry for every few answers, without an end."""

    class Busy:
        async def write(self, commands: list[Command]) -> dict[int, StoreError]:
            written.append(users_in(commands))
            log.note(answer_to("later", "r"), DEFAULT)
            return {}

    written: list[list[str]] = []
    log = ExposureLog(Busy(), 1.0, 1_000, [].append)  # type: ignore[arg-type]
    log.note(answer_to("u1", "r"), DEFAULT)
    asyncio.run(log.write())
    assert written == [["u1"]]
    assert log.user_ids == {"later"}
    asyncio.run(log.write())
    assert written == [["u1"], ["later"]]


def test_a_stream_that_is_away_holds_no_other_back_and_gets_its_own_again() -> None:
    """As of a cluster whose nodes are not all there."""

    class Part:
        is_whole = False

        async def write(self, commands: list[Command]) -> dict[int, StoreError]:
            away = {} if self.is_whole else {0: StoreAway("a node is away")}
            taken.extend(users_in([one for n, one in enumerate(commands) if n not in away]))
            if away:
                first.update(users_in(commands[:1]))
                log.drop(["u0"])  # forgotten meanwhile, whether it was taken or not
            return away  # type: ignore[return-value]

    taken: list[str] = []
    first: set[str] = set()
    users = [f"u{number}" for number in range(1_200)]
    log = ExposureLog(Part(), 1.0, 1_000, [].append)  # type: ignore[arg-type]
    for user_id in users:
        log.note(answer_to(user_id, "r"), DEFAULT)
    with pytest.raises(StoreAway, match="a node"):
        asyncio.run(log.write())
    assert log.user_ids == first - {"u0"}
    assert sorted({*taken} | first) == sorted(users)
    log._store.is_whole = True  # type: ignore[attr-defined]
    asyncio.run(log.write())
    assert sorted({*taken} | {"u0"}) == sorted(users)
    assert len(taken) == len({*taken})


def test_long_answers_are_encoded_a_few_at_a_time() -> None:
    kept = Kept()
    log = ExposureLog(kept, 1.0, 1_000, [].append)  # type: ignore[arg-type]
    long = [{"item_id": f"i{number}"} for number in range(1_000)]
    for number in range(12):
        log.note(answer_to("u1", f"r{number}") | {"items": long}, DEFAULT)
    asyncio.run(log.write())
    assert [len(answers_in([one])) for one in kept.commands] == [5, 5, 2]


def test_answers_of_a_stream_are_written_together() -> None:
    kept = Kept()
    log = ExposureLog(kept, 1.0, 1_000, [].append)  # type: ignore[arg-type]
    for number in range(400):
        log.note(answer_to(f"u{number}", "r"), DEFAULT)
    asyncio.run(log.write())
    assert sorted(command[3] for command in kept.commands) == exposure_keys()  # type: ignore[type-var]
    assert len(answers_in(kept.commands)) == 400


def test_an_answer_that_cannot_be_written_at_all_is_counted_and_keeps_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = Kept()
    lost: list[int] = []
    log = ExposureLog(kept, 1.0, 1_000, lost.append)  # type: ignore[arg-type]
    for user_id, request_id in (("u1", "r"), ("\ud800", "r"), ("u2", "\ud800"), ("u3", "r")):
        log.note(answer_to(user_id, request_id), DEFAULT)
    kept.error = StoreAway("the store is away")
    with pytest.raises(StoreAway):
        asyncio.run(log.write())
    kept.error, kept.commands = None, []
    asyncio.run(log.write())
    assert users_in(kept.commands) == ["u1", "u3"]
    assert lost == [1, 1]
    assert log.user_ids == set()
    [line] = [one.message for one in caplog.records]  # of both, as the reason is the same
    assert line.startswith("an answer can't be written to the log of exposures: ")


def test_two_who_write_at_once_take_turns() -> None:
    """What the first could not write is the first's, whatever comes meanwhile."""

    class Late:
        n_calls = 0

        async def write(self, commands: list[Command]) -> dict[int, StoreError]:
            self.n_calls += 1
            fails = self.n_calls == 1
            for _ in range(5):
                await asyncio.sleep(0)
            if fails:
                raise StoreAway("the store is away")
            written.extend(users_in(commands))
            return {}

    async def write() -> list[BaseException | None]:
        first = asyncio.create_task(log.write())
        await asyncio.sleep(0)
        log.note(answer_to("u2", "r"), DEFAULT)
        return await asyncio.gather(first, log.write(), return_exceptions=True)

    written: list[object] = []
    log = ExposureLog(Late(), 1.0, 1_000, [].append)  # type: ignore[arg-type]
    log.note(answer_to("u1", "r"), DEFAULT)
    assert [type(one) for one in asyncio.run(write())] == [StoreAway, type(None)]
    assert written == ["u1", "u2"]
    assert log.user_ids == set()


def test_what_is_being_sent_when_the_service_ends_is_written_by_the_last_write() -> None:
    class Hanging:
        hangs = True

        async def write(self, commands: list[Command]) -> dict[int, StoreError]:
            if self.hangs:
                await asyncio.Event().wait()
            written.extend(users_in(commands))
            return {}

    async def end() -> None:
        writing = asyncio.create_task(log.write())
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        store.hangs = False
        await log.write()

    written: list[object] = []
    store = Hanging()
    log = ExposureLog(store, 1.0, 1_000, [].append)  # type: ignore[arg-type]
    for number in range(3):
        log.note(answer_to(f"u{number}", "r"), DEFAULT)
    asyncio.run(end())
    assert written == ["u0", "u1", "u2"]
