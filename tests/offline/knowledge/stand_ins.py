"""Language models for tests: one that recites, and a tiny Llama with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt

Recital = Callable[[Prompt, Sampling], str]


def title_of(prompt: Prompt) -> str:
    return prompt.ask.split("Title: ")[1].split("\n")[0]


def sound_answer(prompt: Prompt, sampling: Sampling) -> str:
    return f"{prompt.answer_begins} a quiet evening with {title_of(prompt)} and some good friends."


@dataclass
class RecitingModel:
    """Answers by a function and remembers its prompts."""

    recite: Recital = sound_answer
    prompts_at_a_time: int = 4
    name: str = "reciting"
    asked: list[tuple[Prompt, Sampling]] = field(default_factory=list)
    opened: int = 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        self.asked += [(prompt, sampling) for prompt in prompts]
        return [Answer(self.recite(prompt, sampling), 12) for prompt in prompts]

    def as_they_come(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        return enumerate(self.generate(prompts, sampling))

    def open(self, _config: KnowledgeConfig, _cache: Path) -> RecitingModel:
        self.opened += 1
        return self

    def titles_asked(self) -> list[str]:
        return [title_of(prompt) for prompt, _ in self.asked]


def texts_of(*titles: str) -> list[str]:
    return [f"Title: {title}\nGenres: Drama" for title in titles]


def make_tiny_llama(folder: Path) -> Path:
    """A Llama of some thousand random weights, with a tokenizer that knows a few words."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from tests.offline.tiny_tokenizer import make_word_tokenizer

    tokenizer = make_word_tokenizer()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("[SEP]"),
        pad_token_id=tokenizer.token_to_id("[PAD]"),
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]"
    ).save_pretrained(folder)
    return folder
