"""Several texts of each item, sampled once from the LLM before alignment, in a folder that resumes.

Alignment on a small machine takes its texts from here: they are rewarded again and again as the
recommender moves, and weighted by how likely the LLM would write them now. Degenerate texts are
kept and marked, for a reward can only teach what it has seen.

A kill loses the batch that was being sampled: each batch is a file of its own (safetensors).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Float32, Int32, SampledText
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.policy import Policy, open_policy
from offline.alignment.writing import write_texts
from offline.encoding.config import EncodedText
from offline.encoding.item_vectors import text_to_encode
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw, trim_to_sentence
from offline.knowledge.local_model import LocalModel
from offline.knowledge.prompt import PromptTemplate, read_template
from offline.progress import Progress
from offline.training.checkpoint import load_checkpoint, save_checkpoint

Int64 = np.typing.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PooledAnswer:
    """An answer as it lies in the pool.

    Attributes:
        answer: whole and untrimmed, with its given beginning.
        flaw: why it is degenerate; None if it isn't.
        tokens: of what the model wrote, int32 [T].
        log_p: of each token under the model that sampled it, float32 [T].
    """

    answer: str
    flaw: Flaw | None
    tokens: Int32
    log_p: Float32

    @property
    def knowledge(self) -> str:
        """Its full sentences, as the knowledge stage takes them; "" where it is degenerate."""
        return "" if self.flaw else trim_to_sentence(self.answer)


@dataclass(frozen=True)
class PoolWriter:
    """The LLM before alignment, as a pool asks it.

    Attributes:
        policy: the LLM.
        prompts: of the items.
        config: length of an answer.
    """

    policy: Policy
    prompts: ItemPrompts
    config: AlignmentConfig

    def write(self, items: Sequence[int], seed: int) -> list[PooledAnswer]:
        """An answer about each item_index; for one that is repeated, so many different ones."""
        generator = torch.Generator(self.policy.model.device).manual_seed(seed)
        texts = write_texts(
            self.policy, self.prompts, items, self.config, generator, before_alignment=True
        )
        return [
            PooledAnswer(
                self.prompts.answer(text.item, text.tokens),
                self.prompts.flaw(text.item, text.tokens),
                text.tokens,
                text.log_sampled,
            )
            for text in texts
        ]


OpenWriter = Callable[[], PoolWriter]


class PoolFolder:
    """The answers of one model to the prompts of a catalogue.

    Args:
        folder: of the files; made when the first batch is written.
        knowledge: names the model, the prompt and the kind of item.
        max_new_tokens: limit of an answer.
        seed: of the sampling. Answers of other settings in the same folder are left alone.

    Raises:
        ConfigError: the prompt can't be read.
    """

    def __init__(
        self, folder: Path, knowledge: KnowledgeConfig, max_new_tokens: int, seed: int
    ) -> None:
        self._folder, self._knowledge = folder, knowledge
        self._max_new_tokens, self._seed = max_new_tokens, seed
        self._template: PromptTemplate = read_template(knowledge.prompt)
        self._answers: dict[str, list[PooledAnswer]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            for key, answers in _read_batch(path):
                self._answers.setdefault(key, []).extend(answers)

    def answers(self, item_text: str) -> list[PooledAnswer]:
        """All that were sampled for an item's text, in the order of sampling; may be none."""
        return self._answers.get(self._key(item_text), [])

    def fill(
        self,
        items: Sequence[int],
        item_texts: Sequence[str],
        n_each: int,
        batch_size: int,
        open_writer: OpenWriter,
    ) -> None:
        """Sample until each item has `n_each` answers, in the order of `items`.

        Args:
            items: item_indices.
            item_texts: own texts of item_index 1..N; items with equal ones share their answers.
            n_each: answers to each.
            batch_size: answers at a time.
            open_writer: opens the LLM; only called if something is missing.

        Raises:
            LongtailError: the LLM can't be opened.
        """
        text_of = {item: item_texts[item - 1] for item in items}
        first_of = {text: item for item, text in reversed(text_of.items())}
        missing = [
            item
            for item in items
            if first_of[text_of[item]] == item and len(self.answers(text_of[item])) < n_each
        ]
        if not missing:
            return
        writer, started, n_tokens = open_writer(), time.perf_counter(), 0
        size = max(1, batch_size // n_each)
        with Progress("texts sampled", len(missing), "items") as progress:
            for first in range(0, len(missing), size):
                batch = {item: text_of[item] for item in missing[first : first + size]}
                n_tokens += self._sample(writer, batch, n_each)
                pace = n_tokens / (time.perf_counter() - started)
                progress.advance(len(batch), note=f"{pace:.0f} tokens/s")

    def flaws(self) -> Counter[str]:
        """How many answers have which flaw, "none" for those without."""
        return Counter(
            answer.flaw or "none" for answers in self._answers.values() for answer in answers
        )

    def _sample(self, writer: PoolWriter, item_texts: dict[int, str], n_each: int) -> int:
        """Sample for a batch of items, by item_index, and write it; the number of tokens."""
        keys = [self._key(text) for text in item_texts.values()]
        # The seed mixes in the batch's first key: batches differ, and a resumed run needs no state.
        seed = (self._seed + len(self._answers.get(keys[0], [])) + int(keys[0][:8], 16)) % 2**31
        written = writer.write([item for item in item_texts for _ in range(n_each)], seed)
        batch = {
            key: written[place : place + n_each]
            for key, place in zip(keys, range(0, len(written), n_each), strict=True)
        }
        _write_batch(self._folder / f"{keys[0][:16]}-{seed}.safetensors", batch)
        for key, answers in batch.items():
            self._answers.setdefault(key, []).extend(answers)
        return sum(len(answer.tokens) for answer in written)

    def _key(self, item_text: str) -> str:
        """sha256 (hex) of all that shapes an answer."""
        identity = {
            "model": self._knowledge.model,
            "prompt": asdict(self._template),
            "item_kind": self._knowledge.item_kind,
            "max_new_tokens": self._max_new_tokens,
            "seed": self._seed,
            "item": item_text,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class ItemTextPool:
    """The pool as alignment reads it, by item_index (`experience.TextPool`).

    Args:
        folder: the answers.
        items: item_indices.
        item_texts: own texts of item_index 1..N.
        which: the part of an item's texts that is encoded.
        n_each: answers of an item that are used; items with fewer have none.
    """

    def __init__(
        self,
        folder: PoolFolder,
        items: Sequence[int],
        item_texts: Sequence[str],
        which: EncodedText,
        n_each: int,
    ) -> None:
        self._texts: dict[int, list[SampledText]] = {}
        self._knowledge: dict[int, str] = {}  # by id() of the text
        for item in items:
            own = item_texts[item - 1]
            answers = folder.answers(own)[:n_each]
            if len(answers) == n_each:
                texts = [_sampled_text(item, own, answer, which) for answer in answers]
                self._texts[item] = texts
                self._knowledge |= {
                    id(text): answer.knowledge for text, answer in zip(texts, answers, strict=True)
                }

    @property
    def items(self) -> Int32:
        """item_indices that have texts, int32 [P], ascending."""
        return np.array(sorted(self._texts), dtype=np.int32)

    def texts(self, item: int) -> Sequence[SampledText]:
        """The texts of an item, always the same objects."""
        return self._texts[item]

    def knowledge(self, text: SampledText) -> str:
        """The knowledge in one of the pool's texts; "" where it is degenerate."""
        return self._knowledge[id(text)]


def open_pool(
    item_texts: Sequence[str],
    counts: Int64,
    which: EncodedText,
    knowledge: KnowledgeConfig,
    config: AlignmentConfig,
    cache: Path,
    open_writer: OpenWriter,
) -> ItemTextPool:
    """The pool of a catalogue, after the texts that it lacks were sampled from the LLM.

    Args:
        item_texts: own texts of item_index 1..N.
        counts: training interactions by item_index, int64 [N+1]; row 0 is padding's.
        which: the part of an item's texts that is encoded.
        knowledge: names the LLM, the prompt and the kind of item.
        config: numbers of items and texts.
        cache: the cache folder; the texts are kept in `alignment/` under it.
        open_writer: opens the LLM; only called if something is missing.

    Raises:
        LongtailError: the LLM or the prompt can't be read.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", Path(knowledge.model).name)
    folder = PoolFolder(cache / "alignment" / name, knowledge, config.max_new_tokens, config.seed)
    items = pooled_items(counts, config).tolist()
    folder.fill(
        items, item_texts, config.texts_per_example, config.sampling_batch_size, open_writer
    )
    return ItemTextPool(folder, items, item_texts, which, config.texts_per_example)


def open_pool_writer(
    item_texts: Sequence[str],
    which: EncodedText,
    knowledge: KnowledgeConfig,
    config: AlignmentConfig,
    cache: Path,
) -> PoolWriter:
    """The LLM of a pool alone, without recommenders.

    Raises:
        ConfigError: it or the prompt can't be read.
    """
    policy, tokenizer = open_policy(knowledge.model, config, cache)
    render = LocalModel(knowledge.model, policy.model, tokenizer, knowledge.batch_size).render
    return PoolWriter(policy, ItemPrompts(item_texts, knowledge, which, tokenizer, render), config)


def pooled_items(counts: Int64, config: AlignmentConfig) -> Int32:
    """Items in the order in which the pool is filled: those with most training interactions first.

    Args:
        counts: training interactions by item_index, int64 [N+1]; row 0 is padding's.
        config: `pool_items` limits them.

    Returns:
        item_indices, int32 [P]. Items without a training interaction are left out: no example
        rewards their texts.
    """
    ordered = np.argsort(-counts[1:], kind="stable") + 1
    ordered = ordered[counts[ordered] > 0]
    return ordered[: config.pool_items or None].astype(np.int32)


def _sampled_text(item: int, own: str, answer: PooledAnswer, which: EncodedText) -> SampledText:
    text = text_to_encode(own, answer.knowledge, which)
    return SampledText(item, text, answer.tokens, answer.log_p, answer.log_p)


def _write_batch(path: Path, batch: dict[str, list[PooledAnswer]]) -> None:
    rows = [(key, answer) for key, answers in batch.items() for answer in answers]
    tensors = {
        "lengths": torch.tensor([len(answer.tokens) for _, answer in rows], dtype=torch.int32),
        "tokens": torch.from_numpy(np.concatenate([answer.tokens for _, answer in rows])),
        "log_p": torch.from_numpy(np.concatenate([answer.log_p for _, answer in rows])),
    }
    lines = [{"key": key, "answer": answer.answer, "flaw": answer.flaw} for key, answer in rows]
    save_checkpoint(path, tensors, {"answers": lines})


def _read_batch(path: Path) -> Iterator[tuple[str, list[PooledAnswer]]]:
    """Keys and answers of a file; nothing of one that is damaged, which is sampled again."""
    loaded = load_checkpoint(path)
    if loaded is None:
        return
    tensors, state = loaded
    ends = np.cumsum(tensors["lengths"].numpy())[:-1]
    tokens = np.split(tensors["tokens"].numpy(), ends)
    log_p = np.split(tensors["log_p"].numpy(), ends)
    for line, of_tokens, of_log in zip(state["answers"], tokens, log_p, strict=True):
        flaw = None if line["flaw"] is None else Flaw(line["flaw"])
        yield line["key"], [PooledAnswer(line["answer"], flaw, of_tokens, of_log)]
