"""The command line itself: suggestions and completion."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
import shtab

import longtail
from model_store.errors import BundleUnavailable, ConfigError
from model_store.manifest import Manifest
from offline.recipe import read_recipe
from tests.contracts.command_reference import leaves


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["biuld"], "build"),
        (["models", "actvate", "v"], "activate"),
        (["knowledge", "shwo", "50"], "show"),
        (["serve", "--wokers", "2"], "--workers"),
        (["demo", "--no-rerankr"], "--no-reranker"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        longtail.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(f"; did you mean {meant!r}?")


def test_a_word_like_no_other_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        longtail.main(["xyzzy"])
    assert "did you mean" not in capsys.readouterr().err


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "longtail.bash"
    with script.open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", file)
        with pytest.raises(SystemExit):
            longtail.main(["--print-completion", "bash"])
    complete = (
        'source "$0"; COMP_WORDS=(longtail "$@"); COMP_CWORD=$#; _shtab_longtail; '
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    (tmp_path / "clicks.csv").touch()
    for typed, expected in (
        (["bui"], {"build"}),
        (["models", "ro"], {"rollback"}),
        (["build", "--interactions", "cli"], {"clicks.csv"}),
    ):
        done = subprocess.run(
            ["bash", "-c", complete, script, *typed],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert {word.strip() for word in done.stdout.split()} == expected


def test_a_shell_completes_files_wherever_one_is_named(tmp_path: Path) -> None:
    named = {
        (name, action.dest)
        for name, parser in leaves(longtail.build_parser())
        for action in parser._actions
        if getattr(action, "complete", None) is shtab.FILE
    }
    for argument in (
        ("longtail inspect", "interactions"),
        ("longtail build", "items"),
        ("longtail build", "out"),
        ("longtail pretrain-encoder", "settings"),
        ("longtail rules apply", "file"),
        ("longtail serve", "bundle"),
    ):
        assert argument in named


ARGUMENTS = [
    (name.split()[1:], action)
    for name, parser in leaves(longtail.build_parser())
    for action in parser._actions
]


def spelled(action: argparse.Action, value: str) -> list[str]:
    return [action.option_strings[0], value] if action.option_strings else [value]


def fault_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of the message about wrong arguments."""
    with pytest.raises(SystemExit) as ended:
        longtail.main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_number_that_is_none_is_named_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    faults = {
        fault_of([*words, *spelled(action, "abc")], capsys).partition(": error: ")[2]
        for words, action in ARGUMENTS
        if callable(action.type)
        and action.type not in (longtail._some_path, longtail._some_text)
        and action.dest != "user_id"  # of which this is one
    }
    assert len(faults) > 20
    for fault in faults:
        assert re.fullmatch(r"argument \S+: 'abc' is no [a-z]+ ?[a-z0-9,.]*[^()_]*", fault), fault


def test_an_empty_path_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """As of `--out "$OUT"` where nothing has set it."""
    paths = [one for one in ARGUMENTS if one[1].metavar in ("FILE", "FOLDER")]
    assert len(paths) > 20
    for words, action in paths:
        assert fault_of([*words, *spelled(action, " ")], capsys).endswith(": the path is empty")


def test_nobody_is_forgotten_by_an_empty_id(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ("", "x" * 513):
        fault = fault_of(["users", "forget", given], capsys)
        assert fault.endswith("argument USER_ID: an id has 1 to 512 characters")


def test_what_is_no_text_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = fault_of(["users", "forget", "j\udcfcrgen"], capsys)
    assert fault == r"longtail: error: the argument 'j\udcfcrgen' is no text in utf-8"
    monkeypatch.setenv("LONGTAIL_STORE_DIR", "j\udcfcrgen")
    fault = fault_of(["models", "list"], capsys)
    assert fault == "longtail: error: LONGTAIL_STORE_DIR is no text in utf-8"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "recommend-all --out o --item-columns title=name",
            "--item-columns goes with --interactions",
        ),
        ("recommend-all --out o --no-item-header", "--no-item-header goes with --interactions"),
        ("publish --bundle b --kinds zip=text", "--kinds goes with --items, not with --bundle"),
        (
            "evaluate --bundle b --model ratings",
            "--model ratings: goes with --url, or without --bundle",
        ),
        ("evaluate --url x --rps nan", "--rps nan: expected a number above 0"),
        ("models list --token t", "--token goes with --url: without a service, the store is asked"),
        (
            "models compare a b --token t",
            "--token goes with --url: without a service, the store is asked",
        ),
        ("models compare a a", "a is named twice: two versions are compared"),
        ("rules show --token t", "--token goes with --url: without a service, the store is asked"),
        (
            "experiments show --token t",
            "--token goes with --url: without a service, the store is asked",
        ),
        ("models list --url=", "--url '': starts with neither http:// nor https://"),
        ("refresh --interactions i --out o --token t", "--token goes with --url"),
        ("refresh --interactions i --out o --shadow-share 5", "--shadow-share goes with --shadow"),
        ("refresh --interactions i --out o --canary-limit 5m", "--canary-limit goes with --canary"),
        ("mcp --port 9000", "--port goes with --http"),
        (
            "build --interactions movielens-100k --items i --out o",
            "--items: movielens-100k has its own; a folder of yours is ./movielens-100k",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_an_error(
    words: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_ADMIN_TOKEN", "long-enough")
    assert longtail.main(words.split()) == 1
    assert capsys.readouterr().err == f"longtail {words.split()[0]}: {line}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp\nu,i,1700000000\n")
    command = [sys.executable, "-m", "longtail", "inspect", "--interactions"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, str(tmp_path / "clicks.csv")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "longtail inspect: No space left on device"
    assert "Traceback" not in done.stderr


def test_a_mistyped_recipe_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="; did you mean 'lightsans'"):
        read_recipe("lightsan")


def test_a_missing_key_is_named_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[training]\nepochs = 3\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(str(recipe))
    assert str(caught.value) == f"recipe {str(recipe)!r}: description is missing"


def test_a_recipe_of_notepad_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_bytes(b'\xef\xbb\xbfdescription = "mine"\r\n[training]\r\nepochs = 3\r\n')
    assert read_recipe(str(recipe)).training.epochs == 3


def test_a_recipe_that_is_there_and_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "mine.toml"
    folder.mkdir()
    with pytest.raises(ConfigError) as caught:
        read_recipe(str(folder))
    assert str(caught.value) == f"recipe {str(folder)!r}: Is a directory"


def test_the_folder_of_a_build_is_not_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    with pytest.raises(BundleUnavailable, match=f"; did you mean {tmp_path}/bundle"):
        Manifest.load(tmp_path / "manifest.json")
