"""Complete the attributes of a catalogue by a language model (Llama4Rec 4.2.3).

known, wanted = plan(attributes, item_ids, config)
completed, report = complete(known, item_ids, wanted, config, cache)

Prompts hold attributes of items and nothing else. Answers are kept on disk as they come, by the
whole prompt: a run that was killed goes on where it stopped, and other choices of valid values ask
nothing anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.attributes import Attribute, AttributeValue, ItemAttributes
from model_store.errors import ConfigError
from model_store.id_map import IdMap
from offline.augmentation.attributes import (
    Example,
    Wanted,
    augmented_attributes,
    completion_prompt,
    parse_completion,
)
from offline.augmentation.completion_config import CompletedAttribute, CompletionConfig
from offline.item_text import item_text
from offline.knowledge.answers import AnswerLog, StoredAnswer, read_answers
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import LanguageModel, Sampling
from offline.knowledge.opening import open_language_model
from offline.knowledge.prompt import Prompt
from offline.progress import Progress

OpenModel = Callable[[KnowledgeConfig, Path], LanguageModel]
N_SAMPLES = 5


@dataclass
class CompletionReport:
    """What became of the missing values.

    Attributes:
        model: the language model's name.
        items: of the catalogue.
        asked: items that lack one of the attributes, and are among those with most interactions.
        cached: of these, answered before.
        generated: answered now.
        without_answer: of which the endpoint gave none.
        attributes: by name: values missing before, completed, and left missing: not asked for, or
            the answer states none that is valid; and valid answers that are an example's value. If
            most are, the model copies, and knows nothing.
        samples: some prompts' items with the values that were read.
    """

    model: str
    items: int
    asked: int = 0
    cached: int = 0
    generated: int = 0
    without_answer: int = 0
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def plan(
    attributes: ItemAttributes, item_ids: IdMap, config: CompletionConfig
) -> tuple[ItemAttributes, list[Wanted]]:
    """The catalogue with the values of examples, and what is asked for.

    Raises:
        ConfigError: an example is of an unknown item, or the catalogue has an attribute as another
            kind.
    """
    given: dict[int, dict[str, AttributeValue]] = {}
    for chosen in config.attributes:
        for item_id, value in chosen.examples.items():
            item = item_ids.index_of(item_id)
            if item is None:
                raise ConfigError(
                    f"completion: attribute {chosen.name!r} has an example of item {item_id!r}, "
                    "which the data don't have"
                )
            given.setdefault(item, {})[chosen.name] = (
                [*value] if isinstance(value, tuple) else value
            )
    wanted = [_wanted(chosen, attributes) for chosen in config.attributes]
    try:
        return augmented_attributes(attributes, given, wanted), wanted
    except ValueError as error:
        raise ConfigError(f"completion: {error}") from error


def complete(
    attributes: ItemAttributes,
    item_ids: IdMap,
    wanted: Sequence[Wanted],
    config: CompletionConfig,
    cache: Path,
    counts: npt.NDArray[np.int64],
    open_model: OpenModel = open_language_model,
) -> tuple[ItemAttributes, CompletionReport]:
    """Fill what is missing; a value that is there is never replaced.

    Args:
        attributes: with a column for each wanted attribute, as `plan` gives them.
        item_ids: of the items.
        wanted: the attributes.
        config: examples and language model.
        cache: folder of answers.
        counts: interactions of each item, int64 [N+1]; items with the most are asked about first.
        open_model: how the model is opened; only called if an answer is missing.

    Raises:
        ConfigError: no item has a value of each attribute, or the model can't be opened.
        EndpointError: the endpoint can't be used, or not any longer.
    """
    names = [one.name for one in wanted]
    shown = tuple(name for name in attributes.names if name not in {*names, "title"})
    texts = {
        item: item_text(_without(attributes, names), item, item_ids.id_of(item), shown)
        for item in range(1, attributes.n_items + 1)
    }
    missing = [item for item in texts if None in _values(attributes, item, names)]
    whole = [item for item in texts if item not in set(missing)][: config.n_examples]
    if missing and not whole:
        raise ConfigError(
            f"completion: no item has a value of each of {', '.join(names)}; give examples"
        )
    examples = [
        Example(texts[item], {name: _shown(attributes.row(item)[name]) for name in names})
        for item in whole
    ]
    asked = sorted(missing, key=lambda item: -int(counts[item]))[: config.max_items or None]
    prompts = {item: completion_prompt(texts[item], examples, wanted) for item in asked}
    report = CompletionReport(config.model, attributes.n_items, asked=len(asked))
    answers = _answers(prompts, config, cache, open_model, report)
    completed = {item: parse_completion(text, wanted) for item, text in answers.items()}
    grown = augmented_attributes(attributes, completed, wanted)
    for name in names:
        before, after = (_n_missing(each, name) for each in (attributes, grown))
        shown_values = {example.values[name] for example in examples}
        report.attributes[name] = {
            "missing": before,
            "completed": before - after,
            "left": after,
            "as_in_an_example": sum(
                _shown(values[name]) in shown_values
                for values in completed.values()
                if name in values
            ),
        }
    report.samples = [
        {"item": texts[item].partition("\n")[0], **completed.get(item, {})}
        for item in asked[:N_SAMPLES]
    ]
    return grown, report


def _answers(
    prompts: Mapping[int, Prompt],
    config: CompletionConfig,
    cache: Path,
    open_model: OpenModel,
    report: CompletionReport,
) -> dict[int, str]:
    """The text of each item's answer; those that are missing are asked for."""
    keys = {item: _key(prompt, config) for item, prompt in prompts.items()}
    path = cache_file(config, cache)
    known = read_answers(path)
    found = {item: known[key].knowledge for item, key in keys.items() if key in known}
    report.cached = len(found)
    pending = [item for item in prompts if item not in found]
    if not pending:
        return found
    model = open_model(config.language_model, cache)
    sampling = Sampling(config.max_new_tokens, 0.0, 1.0, seed=0)
    size = model.prompts_at_a_time
    with AnswerLog(path) as log, Progress("completing attributes", len(pending), "item") as shown:
        for start in range(0, len(pending), size):
            batch = pending[start : start + size]
            for place, answer in model.as_they_come([prompts[item] for item in batch], sampling):
                shown.advance(1)
                if answer.flaw is not None:
                    report.without_answer += 1
                    continue
                item = batch[place]
                today = datetime.now(UTC).date()
                log.append([StoredAnswer(keys[item], answer.text, None, 1, today)])
                found[item] = answer.text
                report.generated += 1
    return found


def cache_file(config: CompletionConfig, cache: Path) -> Path:
    """The file of a model's answers; the name is for people, the keys decide."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", Path(config.model).name)
    return cache / "completion" / f"{name}.jsonl"


def _key(prompt: Prompt, config: CompletionConfig) -> str:
    """sha256 (hex) of all that shapes an answer."""
    identity = [config.model, prompt.ask, prompt.answer_begins, config.max_new_tokens]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _wanted(chosen: CompletedAttribute, attributes: ItemAttributes) -> Wanted:
    """What is valid: what the recipe allows, else what the catalogue has."""
    known = attributes.get(chosen.name)
    values = [value for value in known.values if value is not None] if known else []
    if chosen.kind == "number":
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        within = (min(numbers), max(numbers)) if numbers else None
        return Wanted(chosen.name, chosen.kind, within=within)
    allowed = chosen.allowed or tuple(dict.fromkeys(_parts(values)))
    return Wanted(chosen.name, chosen.kind, allowed=allowed)


def _parts(values: Sequence[AttributeValue]) -> list[str]:
    lists = [value if isinstance(value, list) else [str(value)] for value in values]
    return [part for value in lists for part in value]


def _without(attributes: ItemAttributes, names: Sequence[str]) -> ItemAttributes:
    columns = [attributes.get(name) for name in attributes.names if name not in names]
    return ItemAttributes([column for column in columns if column], attributes.n_items)


def _values(attributes: ItemAttributes, item: int, names: Sequence[str]) -> list[AttributeValue]:
    row = attributes.row(item)
    return [row[name] for name in names]


def _shown(value: AttributeValue) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _n_missing(attributes: ItemAttributes, name: str) -> int:
    column: Attribute | None = attributes.get(name)
    return sum(value is None for value in column.values) if column else attributes.n_items
