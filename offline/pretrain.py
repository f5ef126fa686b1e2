"""`longtail pretrain-encoder`: an encoder tuned on several data sets."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import ConfigError
from offline.artifact import locked
from offline.behaviour.config import PretrainingConfig
from offline.config_file import describe_first, read_toml
from offline.inputs import Source
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.pretraining import PretrainingStage
from offline.stages.stage import Log, run_stage


def read_settings(path: str | None, **changes: int | None) -> PretrainingConfig:
    """Settings from a `.toml` file, with given changes.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong.
    """
    try:
        values = read_toml(Path(path)) if path else {}
        given = {key: value for key, value in changes.items() if value is not None}
        return PretrainingConfig.model_validate(values | given)
    except OSError as error:
        raise ConfigError(f"--settings {path!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--settings {path!r}: not TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"pretraining: {describe_first(error)}") from None


def pretrain_encoder(
    sources: Sequence[Source],
    encoder: str,
    config: PretrainingConfig,
    root: Path,
    log: Log = print,
) -> Path:
    """Tune an encoder on the training parts of data sets, or reuse an earlier result.

    Args:
        sources: the data sets.
        encoder: short name, Hugging Face id or folder of the encoder to start from.
        config: settings.
        root: folder to work in.
        log: called with lines of progress.

    Returns:
        The encoder's folder, below `root`.

    Raises:
        LongtailError: something can't be used or done, in one line.
    """
    stage = PretrainingStage(sources, EncoderChoice.as_it_is(encoder), config, log)
    with locked(root):
        made = run_stage(stage, root, log)
    log(f"encoder: {made.folder}")
    return made.folder
