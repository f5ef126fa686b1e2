"""Has batches answered by models that several processes hold, on an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from model_store.files import write_atomically
from offline.engine.work import Compute, Device, Engine, Part
from offline.fingerprint import fingerprint_of
from offline.knowledge.asking import Answers, OpenModel
from offline.knowledge.batches import Batch
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw
from offline.knowledge.language_model import Answer, LanguageModel, Sampling
from offline.knowledge.prompt import Prompt

# Batches whose prompts wait in files at a time; models are opened once for all of these.
_WAITING = 1_024
_ANSWER_SCHEMA = {
    "text": pl.String,
    "n_tokens": pl.Int64,
    "flaw": pl.String,
    "reason": pl.String,
    "was_cut": pl.Boolean,
}


@dataclass(frozen=True)
class DescribeItems:
    """The `Work` of writing about items: a part is one batch.

    Attributes:
        open_model: how the model is opened, a function of a module.
        config: model and generation.
        cache: the cache folder.
    """

    open_model: OpenModel
    config: KnowledgeConfig
    cache: Path

    @property
    def device(self) -> Device:
        """The one that the model computes on."""
        return self.config.device

    def open(self) -> Compute:
        """Load the model.

        Raises:
            ConfigError: it can't be read.
        """
        return partial(_answer, self.open_model(self.config, self.cache))


def _answer(model: LanguageModel, frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.to_dicts()
    sampling = Sampling(**{name: rows[0][name] for name in Sampling.__dataclass_fields__})
    prompts = [Prompt(**{name: row[name] for name in Prompt.__dataclass_fields__}) for row in rows]
    answers = model.generate(prompts, sampling)
    return pl.DataFrame([asdict(answer) for answer in answers], schema=_ANSWER_SCHEMA)


@dataclass(frozen=True)
class AskOnEngine:
    """An `Asker` whose batches are answered on an engine.

    A batch has the same prompts, in the same order, as one process would read together: texts are
    equal to the bit on all engines whose processes compute on as many threads.

    Attributes:
        work: opens the model.
        engine: where it answers.
        folder: for batches and answers, which a later run after a kill finds there.
    """

    work: DescribeItems
    engine: Engine
    folder: Path

    @property
    def name(self) -> str:
        """See `Asker.name`."""
        return self.work.config.model

    @property
    def prompts_at_a_time(self) -> int:
        """See `Asker.prompts_at_a_time`."""
        return self.work.config.batch_size

    def ask(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Answers]]:
        """See `Asker.ask`; an answer's file goes when its batch has been taken."""
        left = iter(batches)
        while some := [*islice(left, _WAITING)]:
            by_target = {self._target_of(batch): batch for batch in some}
            known = [target for target in by_target if target.is_file()]
            for target in known:
                yield by_target.pop(target), _read(target)
                target.unlink()
            for part in self.engine.run(self.work, self._parts(by_target)):
                yield by_target[part.target], _read(part.target)
                part.source.unlink()
                part.target.unlink()

    def _target_of(self, batch: Batch) -> Path:
        rows = [asdict(prompt) for prompt in batch.prompts]
        name = fingerprint_of(self.work.config.model, rows, asdict(batch.sampling))
        return self.folder / f"{name[:32]}.parquet"

    def _parts(self, batches: dict[Path, Batch]) -> Iterator[Part]:
        for target, batch in batches.items():
            sampling = asdict(batch.sampling)
            frame = pl.DataFrame([asdict(prompt) | sampling for prompt in batch.prompts])
            source = self.folder / "sources" / target.name
            write_atomically(source, frame.write_parquet)
            yield Part(source, target, len(frame))


def _read(target: Path) -> Answers:
    rows = pl.read_parquet(target).to_dicts()
    return enumerate(
        Answer(**(row | {"flaw": None if row["flaw"] is None else Flaw(row["flaw"])}))
        for row in rows
    )
