"""The queue between generator and trainer, both sides in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from offline.alignment import queue as queue_module
from offline.alignment.batch_file import Batch, encode
from offline.alignment.experience import Experience
from offline.alignment.queue import ExperienceQueue

MANY = 1_000


def batch(number: int, snapshot: int = 0) -> Batch:
    one = Experience(np.array([1], np.int32), number, (), -1.0, -2.0, 0, snapshot)
    return Batch(number, (one,), 0.0, 0.0)


@pytest.fixture
def queue(tmp_path: Path) -> ExperienceQueue:
    queue = ExperienceQueue(tmp_path / "queue", 3)
    queue.begin(0)
    return queue


def fill(queue: ExperienceQueue, last: int = MANY, snapshot: int = 0) -> list[int]:
    """Put what is missing until the queue says no more; the numbers."""
    numbers = []
    while (number := queue.next_number(last)) is not None:
        queue.put(batch(number, snapshot))
        numbers.append(number)
    return numbers


def taken(queue: ExperienceQueue, number: int) -> int:
    found = queue.take(number)
    assert found is not None
    return found.experiences[0].target


def test_batches_come_in_order_and_no_more_than_its_size_wait(queue: ExperienceQueue) -> None:
    assert fill(queue) == [1, 2, 3]
    for number in range(1, 20):
        assert queue.n_waiting == 3
        assert taken(queue, number) == number
        assert fill(queue) == [number + 3]


def test_nothing_is_made_after_the_last_update(queue: ExperienceQueue) -> None:
    assert fill(queue, last=2) == [1, 2]
    assert taken(queue, 1) == 1
    assert fill(queue, last=2) == []


def test_a_batch_is_not_taken_twice_nor_made_again(queue: ExperienceQueue) -> None:
    fill(queue)
    assert taken(queue, 1) == 1
    assert queue.take(1) is None
    assert fill(queue) == [4]


def test_what_is_not_there_yet_is_waited_for(queue: ExperienceQueue) -> None:
    assert queue.take(1) is None
    queue.put(batch(1))
    assert taken(queue, 1) == 1


def test_a_new_process_on_either_side_goes_on(queue: ExperienceQueue, tmp_path: Path) -> None:
    fill(queue)
    taken(queue, 1)
    writer = ExperienceQueue(tmp_path / "queue", 3)
    assert fill(writer) == [4]
    reader = ExperienceQueue(tmp_path / "queue", 3)
    reader.begin(1)
    assert [taken(reader, number) for number in (2, 3, 4)] == [2, 3, 4]


def test_batches_after_the_checkpoint_are_made_again(queue: ExperienceQueue) -> None:
    """Updates 2 and 3 were lost with the trainer; the full queue of 4, 5, 6 was not yet used."""
    fill(queue)
    for number in (1, 2, 3):
        taken(queue, number)
    assert fill(queue) == [4, 5, 6]
    queue.begin(1)
    assert fill(queue) == [2, 3]
    assert [taken(queue, number) for number in (2, 3, 4, 5, 6)] == [2, 3, 4, 5, 6]


def test_batches_of_weights_that_were_lost_are_made_again(
    queue: ExperienceQueue, caplog: pytest.LogCaptureFixture
) -> None:
    fill(queue)
    taken(queue, 1)
    taken(queue, 2)
    queue.put(batch(4, snapshot=2))
    queue.begin(1)
    assert fill(queue) == [2, 4]
    assert "000000004.safetensors: made by weights of a later update" in caplog.text


def test_a_beginning_without_updates_empties_it(queue: ExperienceQueue) -> None:
    fill(queue)
    queue.begin(0)
    assert queue.n_waiting == 0


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (encode(batch(2))[:50], "not readable"),
        (b"", "not readable"),
        (encode(batch(9)), "holds the batch of update 9"),
        (encode(batch(2, snapshot=2)), "made by weights of a later update"),
    ],
)
def test_a_damaged_file_is_named_and_made_again(
    queue: ExperienceQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    fault: str,
) -> None:
    fill(queue)
    path = tmp_path / "queue" / "000000002.safetensors"
    path.write_bytes(content)
    assert taken(queue, 1) == 1
    assert queue.take(2) is None
    assert f"{path}: {fault}" in caplog.text
    assert fill(queue) == [2, 4]
    assert [taken(queue, number) for number in (2, 3, 4)] == [2, 3, 4]


def test_foreign_files_are_named_once_and_left_alone(
    queue: ExperienceQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = [
        tmp_path / "queue" / name for name in ("notes.txt", "1.safetensors", "000000002.pkl")
    ]
    for path in foreign:
        path.write_bytes(b"mine")
    queue.begin(0)
    assert fill(queue) == [1, 2, 3]
    assert taken(queue, 1) == 1
    assert sorted(caplog.messages) == sorted(
        f"{path}: no file of this queue; it is left alone" for path in foreign
    )
    assert all(path.read_bytes() == b"mine" for path in foreign)


HOLD = """
import sys
from pathlib import Path
from offline.alignment.queue import ExperienceQueue
with ExperienceQueue(Path(sys.argv[1]), 3).writing():
    print("writes", flush=True)
    sys.stdin.read()
"""


def test_one_process_writes_and_clears_what_a_killed_one_left(
    queue: ExperienceQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "queue"
    half = folder / ".000000001.safetensors.77.partial"
    half.write_bytes(b"half")
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writes\n"
        assert not half.exists()
        monkeypatch.setattr(queue_module, "_LOCK_WAIT_S", 0.1)
        with (
            pytest.raises(InputError, match="another generator still writes there"),
            queue.writing(),
        ):
            pass
        other.kill()
    with queue.writing():
        assert fill(queue) == [1, 2, 3]
