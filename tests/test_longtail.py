"""The command line itself: suggestions and completion."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import longtail
from model_store.errors import BundleUnavailable, ConfigError
from model_store.manifest import Manifest
from offline.recipe import read_recipe


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
    for typed, expected in ((["bui"], {"build"}), (["models", "ro"], {"rollback"})):
        done = subprocess.run(
            ["bash", "-c", complete, script, *typed], capture_output=True, text=True, check=True
        )
        assert {word.strip() for word in done.stdout.split()} == expected


def test_a_mistyped_recipe_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="; did you mean 'lightsans'"):
        read_recipe("lightsan")


def test_a_missing_key_is_named_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[training]\nepochs = 3\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(str(recipe))
    assert str(caught.value) == f"recipe {str(recipe)!r}: description is missing"


def test_the_folder_of_a_build_is_not_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    with pytest.raises(BundleUnavailable, match=f"; did you mean {tmp_path}/bundle"):
        Manifest.load(tmp_path / "manifest.json")
