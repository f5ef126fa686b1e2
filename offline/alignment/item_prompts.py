"""Each item's prompt in tokens, and how an answer to it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from offline.alignment.experience import Int32
from offline.encoding.config import EncodedText
from offline.encoding.item_vectors import text_to_encode
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw, find_flaw, trim_to_sentence
from offline.knowledge.prompt import Prompt, read_template


class ItemPrompts:
    """Prompts as the knowledge stage gives them to the LLM, and answers as it takes them.

    Args:
        item_texts: own texts of item_index 1..N.
        config: names the prompt and the kind of item.
        which: the part of an item's texts that is encoded.
        tokenizer: the LLM's.
        render: a prompt as the LLM's input.

    Raises:
        ConfigError: the prompt can't be read.
    """

    def __init__(
        self,
        item_texts: Sequence[str],
        config: KnowledgeConfig,
        which: EncodedText,
        tokenizer: Any,
        render: Callable[[Prompt], str],
    ) -> None:
        self._item_texts, self._kind, self._which = item_texts, config.item_kind, which
        self._template = read_template(config.prompt)
        self._tokenizer, self._render = tokenizer, render
        self._tokens: dict[int, list[int]] = {}

    def tokens(self, item: int) -> list[int]:
        """The LLM's input for an item_index, with the given beginning of the answer."""
        if item not in self._tokens:
            self._tokens[item] = self._tokenizer(
                self._render(self._prompt(item)),
                add_special_tokens=self._tokenizer.chat_template is None,
            )["input_ids"]
        return self._tokens[item]

    def answer(self, item: int, tokens: Int32) -> str:
        """The whole answer, untrimmed, with its given beginning."""
        written = self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        return f"{self._prompt(item).answer_begins}{written}"

    def flaw(self, item: int, tokens: Int32) -> Flaw | None:
        """Why the knowledge stage would not take the answer; None where it would."""
        prompt = self._prompt(item)
        return find_flaw(self.answer(item, tokens), prompt.answer_begins, prompt.ask)

    def knowledge(self, item: int, tokens: Int32) -> str:
        """The answer's full sentences; "" where it is degenerate."""
        if self.flaw(item, tokens) is not None:
            return ""
        return trim_to_sentence(self.answer(item, tokens))

    def encoded(self, item: int, tokens: Int32) -> str:
        """The text that stands for the item in the recommender with this answer.

        A degenerate answer is not served, so it is not rewarded as what it says either: the item's
        own text stands for the item.
        """
        own = self._item_texts[item - 1]
        return text_to_encode(own, self.knowledge(item, tokens), self._which)

    def _prompt(self, item: int) -> Prompt:
        return self._template.fill(self._item_texts[item - 1], self._kind)
