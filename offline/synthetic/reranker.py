"""The reranker of a synthetic bundle: a language model of a real one's size, with random weights.

It costs what a tuned one costs. Its ranking means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Digits, Whitespace
from tokenizers.pre_tokenizers import Sequence as Steps
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from model_store import bundle as files
from model_store.aggregation import Weighting
from model_store.bundle_writer import BundleWriter
from model_store.files import save_array
from model_store.rerank_prompt import LABELS, PromptLayout
from model_store.reranker import LabelGraph, RerankerInfo
from offline.instruction.label_graph import Precision, export_label_graph
from offline.instruction.label_model import LabelModel
from offline.instruction.similar_users import unit_rows
from offline.synthetic.model import Vectors
from offline.synthetic.world import Items, World
from offline.training.seeds import seeded

LAYOUT = PromptLayout(n_candidates=20, n_history=20, n_similar=5)
# Both rankings count alike for users with the shortest histories.
_ALPHA_1, _ALPHA_2 = 0.5, 0.1
# As a build's default.
PRECISION: Precision = "int8"
_UNKNOWN = "[UNK]"
_WORDS = "History Similar user Candidates Candidate Prediction Answer Rating Item . : ; '"
_N_PROMPTS = 4


def write_reranker(
    writer: BundleWriter, world: World, histories: Sequence[Items], users: Vectors, layers: int
) -> RerankerInfo:
    """Add a reranker to a bundle; returns its description.

    Args:
        writer: of the bundle.
        world: its items.
        histories: of the bundle's users.
        users: float32 [U, D], the vectors of these users.
        layers: of the language model; 0 leaves it out, for an endpoint.
    """
    writer.write(files.USER_VECTORS, lambda path: save_array(path, unit_rows(users)))
    graph: LabelGraph | None = None
    if layers:
        model = random_model(layers, world.seed)
        prompts = _prompts(histories[:_N_PROMPTS])
        n_labels = [LAYOUT.n_candidates] * len(prompts)

        def write(path: Path) -> None:
            nonlocal graph
            graph = export_label_graph(model, path.parent, PRECISION, prompts, n_labels)

        writer.write(files.RERANKER, write)
    return RerankerInfo(
        name=f"random-{layers}",
        layout=LAYOUT,
        weighting=Weighting.of_users(list(map(len, histories)), _ALPHA_1, _ALPHA_2),
        graph=graph,
    )


def random_model(layers: int, seed: int) -> LabelModel:
    """A Llama with SmolLM2-135M's layers, so many of them, and a vocabulary of the prompt's words.

    Digits are tokens of their own, as SmolLM2's are.
    """
    tokenizer = _tokenizer()
    # SmolLM2-135M but for its vocabulary, which costs memory alone.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2_048,
        tie_word_embeddings=True,
    )
    with seeded(seed), torch.inference_mode():
        model = LlamaForCausalLM(config)
    return LabelModel("random", model, tokenizer)


def _tokenizer() -> Any:
    texts = f"{LAYOUT.instruction} {LAYOUT.rating_instruction} {_WORDS}"
    split = Steps([Whitespace(), Digits(individual_digits=True)])
    words = [word for word, _ in split.pre_tokenize_str(texts)]
    vocabulary = dict.fromkeys([_UNKNOWN, *LABELS, *"0123456789", *words])
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = split
    wrap: Any = PreTrainedTokenizerFast  # has no types
    return wrap(tokenizer_object=tokenizer, unk_token=_UNKNOWN)


def _prompts(histories: Sequence[Items]) -> list[str]:
    """Prompts to compare the graph on."""
    shown = np.arange(LAYOUT.n_candidates)
    candidates = [f"Item {number}" for number in shown + 1]
    return [
        LAYOUT.listwise([f"Item {item}" for item in history], candidates, shown.tolist())
        for history in histories
    ]
