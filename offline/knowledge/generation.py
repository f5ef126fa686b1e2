"""The loop that asks a language model about every item, once.

A kill at any point loses at most the batches that are being answered: finished attempts are on the
disk before their process begins another one, and the next run continues with the missing items.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from model_store.knowledge_texts import MAX_TEXT_BYTES
from offline.engine.work import Workplace
from offline.knowledge.answers import (
    BUNDLED,
    AnswerLog,
    StoredAnswer,
    answer_key,
    read_answers,
    read_bundled,
)
from offline.knowledge.asking import Answers, Asker, InTurn, OpenModel
from offline.knowledge.batches import Batch, group, sampling_of
from offline.knowledge.config import NO_MODEL, KnowledgeConfig
from offline.knowledge.flaws import LASTING, find_flaw, trim_to_sentence
from offline.knowledge.language_model import Answer
from offline.knowledge.opening import open_language_model
from offline.knowledge.prompt import Prompt, PromptTemplate, read_template
from offline.knowledge.report import KnowledgeReport, describe_missing
from offline.knowledge.usability import Usability
from offline.progress import Progress, announce

MAX_NAMED = 100
"""So many items of a flaw are named in the report."""
_NAME_CHARACTERS = 80


@dataclass(frozen=True)
class ItemKnowledge:
    """What a language model wrote about items.

    Attributes:
        texts: aligned with the items, "" where there is none.
        made_on: day of each, None where there is none or it wasn't recorded.
    """

    texts: list[str]
    made_on: list[date | None]


def generate_knowledge(
    item_texts: Sequence[str],
    config: KnowledgeConfig,
    cache: Path,
    *,
    regenerate: bool = False,
    bundled: Path = BUNDLED,
    open_model: OpenModel = open_language_model,
    workplace: Workplace | None = None,
) -> tuple[ItemKnowledge, KnowledgeReport]:
    """Collect or generate the knowledge of each item; the result is aligned with `item_texts`.

    Equal texts are generated once. Answers that are bundled or in `cache` under the same model,
    prompt, settings and text are used. The model is opened only where some are missing and are to
    be generated (`config.generates`, or `regenerate`); else such an item gets "". So does an item
    with degenerate answers only. Both are counted in the report.

    Args:
        item_texts: the own text of each item, as `offline.item_text` writes it.
        config: model, prompt and generation.
        cache: the cache folder; answers are kept in `knowledge/` under it.
        regenerate: ignore the bundled answers. Cached ones are still used, so that a killed
            regeneration resumes (delete the cache file to generate them again, too).
        bundled: folder of the read-only layer.
        open_model: how the model is opened, a function of a module; only called if something is
            missing.
        workplace: where a model that isn't behind an endpoint writes; None: in this process.

    Raises:
        ConfigError: the model or the prompt can't be read.
        EngineError: a process was lost.
        EndpointError: the endpoint can't be used, or not any longer.
        UnusableAnswers: too few of the answers can be used.
    """
    run = _look_up(item_texts, config, cache, regenerate, bundled)
    if run.asked() and (config.generates or regenerate):
        with AnswerLog(cache_file(config, cache)) as log:
            run.complete(_open_asker(open_model, config, cache, workplace), log)
    knowledge = run.knowledge_of(item_texts)
    for line in describe_missing(run.report):
        announce(line)
    return knowledge, run.report


def _open_asker(
    open_model: OpenModel, config: KnowledgeConfig, cache: Path, workplace: Workplace | None
) -> Asker:
    # An endpoint does its own work: this process has as many requests in flight as it takes.
    if workplace is None or config.base_url is not None:
        return InTurn(open_model(config, cache))
    from offline.knowledge.on_engine import AskOnEngine, DescribeItems

    work = DescribeItems(open_model, config, cache.resolve())
    return AskOnEngine(work, workplace.engine, workplace.folder)


@dataclass(frozen=True)
class Known:
    """Bundled and cached answers, and the missing texts.

    Attributes:
        report: counts.
        knowledge: aligned with the items, "" where there is none.
        missing: texts without an answer.
    """

    report: KnowledgeReport
    knowledge: list[str]
    missing: list[str]


def find_known(
    item_texts: Sequence[str],
    config: KnowledgeConfig,
    cache: Path,
    *,
    regenerate: bool = False,
    bundled: Path = BUNDLED,
) -> Known:
    """Collect bundled and cached answers. Opens no model and writes nothing.

    Raises:
        ConfigError: the prompt can't be read.
    """
    run = _look_up(item_texts, config, cache, regenerate, bundled)
    return Known(run.report, run.knowledge_of(item_texts).texts, run.asked())


def _look_up(
    item_texts: Sequence[str],
    config: KnowledgeConfig,
    cache: Path,
    regenerate: bool,
    bundled: Path,
) -> _Run:
    report = KnowledgeReport(model=config.model, prompt=config.prompt, n_items=len(item_texts))
    template = read_template(config.prompt)
    if config.model == NO_MODEL:
        return _Run(config, template, {}, {}, report)
    texts = {answer_key(config, template, text): text for text in item_texts}
    report.n_texts = len(texts)
    found = {} if regenerate else _pick(read_bundled(bundled), texts)
    report.from_bundled = len(found)
    from_bundled = frozenset(found)
    for key, answer in _pick(read_answers(cache_file(config, cache)), texts).items():
        found.setdefault(key, answer)
    report.from_cache = len(found) - report.from_bundled
    return _Run(config, template, texts, found, report, from_bundled)


def cache_file(config: KnowledgeConfig, cache: Path) -> Path:
    """The cache file of a configuration's answers; the name is for people, the keys decide."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{Path(config.model).name}-{Path(config.prompt).stem}")
    return cache / "knowledge" / f"{name}.jsonl"


class _Run:
    """One run of the loop: `found` grows by key until nothing is missing."""

    def __init__(
        self,
        config: KnowledgeConfig,
        template: PromptTemplate,
        texts: dict[str, str],
        found: dict[str, StoredAnswer],
        report: KnowledgeReport,
        bundled: Collection[str] = (),
    ) -> None:
        self._config = config
        self._template = template
        self._texts = texts
        self._found = found
        self._bundled = bundled
        # An endpoint's answers go to the disk one by one: each may have cost money.
        self._costs = config.base_url is not None
        self._usability = Usability(config)
        self.report = report

    def asked(self) -> list[str]:
        """Texts without a usable answer that have attempts left."""
        return [self._texts[key] for key in self._missing()]

    def knowledge_of(self, item_texts: Sequence[str]) -> ItemKnowledge:
        """Found and generated answers, aligned with the texts."""
        flawed = {key: answer.flaw for key, answer in self._found.items() if answer.flaw}
        self.report.without_knowledge = dict(Counter(flawed.values()))
        self.report.named = {
            flaw: [_name(self._texts[key]) for key, one in flawed.items() if one is flaw][
                :MAX_NAMED
            ]
            for flaw in self.report.without_knowledge
        }
        self.report.not_asked = len(self._texts) - len(self._found)
        if not self._texts:
            return ItemKnowledge([""] * len(item_texts), [None] * len(item_texts))
        nothing = StoredAnswer("", "", None, 0)
        keys = [answer_key(self._config, self._template, text) for text in item_texts]
        found = [self._found.get(key, nothing) for key in keys]
        return ItemKnowledge(
            [answer.knowledge for answer in found],
            [answer.made_on if answer.knowledge else None for answer in found],
        )

    def complete(self, asker: Asker, log: AnswerLog) -> None:
        """Ask until nothing is missing: all first attempts, then all second ones, and so on."""
        started = time.perf_counter()
        kept_back: list[StoredAnswer] = []
        with Progress(f"knowledge from {asker.name}", len(self._missing()), "items") as progress:
            for attempt in range(1, self._config.retries + 2):
                batches = self._batches(attempt, asker.prompts_at_a_time)
                for batch, answers in asker.ask(batches):
                    for answer in self._judged(batch, answers, attempt):
                        self._found[answer.key] = answer
                        if self._costs and answer.flaw is None:
                            log.append([answer])
                        else:
                            kept_back.append(answer)
                        done = not self._attempts_left(answer.key)
                        progress.advance(done, note=self._note(started))
                    if self._usability.check():
                        # In one write: a killed run finds a batch wholly, or not at all.
                        log.append(self._current(kept_back))
                        kept_back.clear()
        self._usability.check_at_end()
        log.append(self._current(kept_back))
        self.report.seconds = round(time.perf_counter() - started, 1)
        self.report.tokens_per_s = round(self.report.tokens / max(self.report.seconds, 1e-9), 1)

    def _current(self, answers: Sequence[StoredAnswer]) -> list[StoredAnswer]:
        """Those that no later attempt replaced: in the log, the last line of a key counts."""
        return [answer for answer in answers if self._found[answer.key] is answer]

    def _batches(self, attempt: int, size: int) -> Iterator[Batch]:
        """What is left of an attempt, in the batches in which a run without a kill asks."""
        missing = [key for key in self._missing() if self._next_attempt(key) == attempt]
        asked = [
            key
            for key, answer in self._found.items()
            if key not in self._bundled and answer.attempts >= attempt
        ]
        for keys in group([*asked, *missing], missing, self._texts, size):
            prompts = [
                self._template.fill(self._texts[key], self._config.item_kind) for key in keys
            ]
            yield Batch(keys, prompts, sampling_of(self._config, attempt, keys[0]))

    def _judged(self, batch: Batch, answers: Answers, attempt: int) -> Iterator[StoredAnswer]:
        for position, answer in answers:
            self.report.retried += attempt > 1
            self.report.cut += answer.was_cut and attempt == 1
            yield self._judge(batch.keys[position], batch.prompts[position], answer, attempt)

    def _judge(self, key: str, prompt: Prompt, answer: Answer, attempt: int) -> StoredAnswer:
        report, today = self.report, datetime.now(UTC).date()
        report.tokens += answer.n_tokens
        flaw = answer.flaw or find_flaw(answer.text, prompt.answer_begins, prompt.ask)
        self._usability.count(answer, flaw, is_first=attempt == 1)
        if flaw is not None:
            report.degenerate_attempts[flaw] = report.degenerate_attempts.get(flaw, 0) + 1
            n_attempts = self._config.retries + 1 if flaw in LASTING else attempt
            return StoredAnswer(key, "", flaw, n_attempts, today)
        knowledge = trim_to_sentence(_within(answer.text, MAX_TEXT_BYTES))
        report.generated += 1
        report.trimmed += knowledge != " ".join(answer.text.split())
        return StoredAnswer(key, knowledge, None, attempt, today)

    def _missing(self) -> list[str]:
        """Keys without a usable answer that have attempts left."""
        return [key for key in self._texts if self._attempts_left(key)]

    def _next_attempt(self, key: str) -> int:
        answer = self._found.get(key)
        return 1 if answer is None else answer.attempts + 1

    def _attempts_left(self, key: str) -> bool:
        answer = self._found.get(key)
        return answer is None or (
            answer.flaw is not None and answer.attempts <= self._config.retries
        )

    def _note(self, started: float) -> str:
        return f"{self.report.tokens / (time.perf_counter() - started):.0f} tokens/s"


def _within(text: str, n_bytes: int) -> str:
    """The beginning of a text that has at most so many bytes in UTF-8."""
    return text.encode()[:n_bytes].decode(errors="ignore")


def _name(item_text: str) -> str:
    """An item for people: the first line of its text, without the label."""
    first = item_text.partition("\n")[0]
    return first.removeprefix("Title: ")[:_NAME_CHARACTERS]


def _pick(answers: dict[str, StoredAnswer], keys: dict[str, str]) -> dict[str, StoredAnswer]:
    return {key: answers[key] for key in keys if key in answers}
