"""`longtail pretrain-encoder`: stage PT, over several data sets."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from model_store.errors import ConfigError
from offline.artifact import Facts, Stage, hash_inputs, locked, run_stage
from offline.behaviour.config import PretrainingConfig
from offline.config_file import describe_first
from offline.inputs import Source
from offline.stage_files import write_json

if TYPE_CHECKING:
    from offline.behaviour.pretraining import Domain

STAGE = "encoder"
SOURCES = (
    "behaviour",
    "data",
    *("encoding/config.py", "encoding/sentence_encoder.py"),
    "item_text.py",
    *("training", "metrics.py"),
)
CHECKPOINT = "checkpoint.safetensors"


def read_settings(path: str | None, **changes: int | None) -> PretrainingConfig:
    """Settings from a `.toml` file, some of them changed where they are given.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong.
    """
    try:
        values = tomllib.loads(Path(path).read_text()) if path else {}
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
    log: Callable[[str], None] = print,
) -> Path:
    """Tune an encoder on the training parts of data sets, or take what was made of them before.

    Args:
        sources: the data sets.
        encoder: short name, Hugging Face id or folder of the encoder to start from.
        config: how.
        root: folder to work in.
        say: told what is going on, a line at a time.

    Returns:
        The encoder's folder, below `root`.

    Raises:
        LongtailError: in one line, what can't be used or done.
    """
    inputs = {f"data-{n}": source.fingerprint() for n, source in enumerate(sources)}
    if Path(encoder).is_dir():
        inputs["encoder"] = hash_inputs([Path(encoder)])
    config_facts = config.model_dump() | {"encoder": encoder}
    stage = Stage(STAGE, SOURCES, config_facts, inputs)

    def produce(folder: Path) -> Facts:
        return _pretrain(sources, encoder, config, folder, log)

    with locked(root):
        made = run_stage(stage, root, produce, log)
    log(f"encoder: {made.folder}")
    return made.folder


def _pretrain(
    sources: Sequence[Source],
    encoder: str,
    config: PretrainingConfig,
    folder: Path,
    log: Callable[[str], None],
) -> Facts:
    from offline.behaviour.pretraining import Pretraining
    from offline.behaviour.tuning import plan_tuning
    from offline.cache import cache_folder
    from offline.encoding.sentence_encoder import SentenceEncoder
    from offline.training.trainer import Trainer

    domains = [_read_domain(source, log) for source in sources]
    sentence_encoder = SentenceEncoder(encoder, cache_folder(), config.device)
    task = Pretraining(sentence_encoder, domains, config)
    checkpoint = folder / CHECKPOINT
    plan = plan_tuning(config, patience=config.epochs)
    record = Trainer("pretraining the encoder", task, plan, checkpoint).run()
    sentence_encoder.save(folder)
    write_json(folder / "record.json", record.to_dict())
    checkpoint.unlink()
    return {"domains": len(domains), "loss": round(record.epochs[-1].loss or 0.0, 4)}


def _read_domain(source: Source, log: Callable[[str], None]) -> Domain:
    from offline.behaviour.pretraining import Domain
    from offline.data.dataset import read_dataset
    from offline.data.split import leave_one_out
    from offline.item_text import item_texts

    dataset = read_dataset(source.interactions, source.items)
    for line in dataset.issues.lines():
        log(f"  {line}")
    texts = item_texts(dataset.attributes, dataset.interactions.item_ids)
    return Domain(texts, leave_one_out(dataset.interactions))
