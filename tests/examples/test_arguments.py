"""What the loop's example says where it can't run."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.loop.run import main


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        ("--users", "0", "no whole number from 1 on"),
        ("--kinds", "2", "no whole number from 3 on"),
        ("--refresh-every", "0", "no whole number from 1 on"),
        ("--explore", "nan", "no number from 0 to 1"),
    ],
)
def test_a_world_that_cannot_be_is_named(
    tmp_path: Path, flag: str, value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "new"), flag, value])
    fault = capsys.readouterr().err.splitlines()[-1]
    assert fault.endswith(f"argument {flag}: '{value}' is {wanted}")


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    small = ["--users", "5", "--items", "10", "--kinds", "3", "--days", "1", "--seeds", "0"]
    assert main(["--out", str(tmp_path / "file" / "new"), *small]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"examples.loop: {tmp_path}/file/new")
    assert error.endswith(": Not a directory\n")
