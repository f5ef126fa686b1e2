import io
import threading

import pytest

from offline import progress
from offline.progress import Progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_log_gets_a_line_a_minute_and_no_carriage_return(clock):
    log = io.StringIO()
    with Progress("training", total=10, unit="epochs", stream=log) as bar:
        for _ in range(10):
            clock[0] += 24
            bar.advance(note="loss 0.5")
    assert "\r" not in log.getvalue()
    lines = log.getvalue().splitlines()
    assert [line.split("[")[0] for line in lines] == [
        "training:   0% 0/10 ",
        "training:  30% 3/10 ",
        "training:  60% 6/10 ",
        "training:  90% 9/10 ",
        "training: 100% 10/10 ",
    ]
    assert lines[1].split("[")[1] == "01:12<02:48, 24.00s/epochs, loss 0.5]"


def test_bytes_are_scaled_and_an_unknown_total_is_left_out(clock):
    log = io.StringIO()
    with Progress("fetching", unit="B", stream=log) as bar:
        clock[0] += 10
        bar.advance(98_000_000)
    assert "98.0MB" in log.getvalue().splitlines()[-1]
    assert "%" not in log.getvalue()


def test_a_terminal_gets_one_line_and_no_thread_stays():
    terminal = Terminal()
    threads = set(threading.enumerate())
    with Progress("training", total=2, stream=terminal) as bar:
        bar.advance(2)
        assert set(threading.enumerate()) == threads
    assert terminal.getvalue().count("\n") == 1
    assert "100%" in terminal.getvalue()


def test_a_process_whose_work_another_shows_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress._Shown, "by_another", False)
    progress.leave_to_another()
    assert list(track(["a", "b"], "items")) == ["a", "b"]
    with Progress("training", total=2) as bar:
        bar.advance(1, "loss 0.5")
    assert capsys.readouterr().err == ""


def test_tracking_yields_all_and_knows_the_length(capsys):
    assert list(track(["a", "b"], "items")) == ["a", "b"]
    assert "items: 100% 2/2" in capsys.readouterr().err


def test_an_error_ends_the_line_and_goes_on(capsys):
    def failing():
        yield 1
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        list(track(failing(), "items", total=3))
    assert "1/3" in capsys.readouterr().err
