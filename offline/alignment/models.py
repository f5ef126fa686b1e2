"""The models of an alignment, opened from its inputs: the same in every process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_store.files import save_array
from offline.alignment.drawn_texts import DrawnTexts
from offline.alignment.examples import Examples
from offline.alignment.inputs import AlignmentInputs
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.judge import Judge
from offline.alignment.likelihood import IdLikelihood, TextLikelihood, Whitening
from offline.alignment.policy import Policy, open_policy
from offline.alignment.pool import ItemTextPool, PoolWriter, open_pool
from offline.alignment.recommenders import (
    TunableRecommender,
    fit_with_knowledge,
    fit_without_knowledge,
)
from offline.alignment.text_vectors import TextVectors
from offline.encoding.item_vectors import encode_items, texts_to_encode
from offline.encoding.sentence_encoder import SentenceEncoder, Vectors
from offline.knowledge.language_model import Sampling
from offline.knowledge.local_model import LocalModel
from offline.knowledge.prompt import Prompt
from offline.recommender.recommender import TrainingData

_VECTORS = "vectors.npy"


@dataclass(frozen=True)
class Models:
    """What alignment works with.

    Attributes:
        inputs: they were opened from.
        policy: the LLM.
        tokenizer: the LLM's.
        writer: the same LLM, writing as the knowledge stage has it write.
        prompts: of the items.
        judge: both recommenders and the text encoder.
        examples: D.
        recommender: measures Rec's network.
        data: that the recommenders were fitted to.
        pool: texts that were sampled once; None in the other modes.
    """

    inputs: AlignmentInputs
    policy: Policy
    tokenizer: Any
    writer: LocalModel
    prompts: ItemPrompts
    judge: Judge
    examples: Examples
    recommender: TunableRecommender
    data: TrainingData
    pool: ItemTextPool | None

    def measure(self, current_texts: dict[int, str]) -> float:
        """Validation NDCG@10 of Rec as it is, items known by these texts where there is one.

        A text encoder that is trained encodes all items again: their vectors have changed.
        """
        judge, texts = self.judge, self.initial_texts()
        if not judge.vectors.frozen:
            now = [current_texts.get(item, text) for item, text in enumerate(texts, start=1)]
            with torch.no_grad():
                vectors = judge.vectors.of(now)
            judge.with_text.set_vectors(range(1, len(now) + 1), vectors)
            rows = np.vstack([np.zeros((1, vectors.shape[1]), np.float32), vectors.cpu().numpy()])
            data = replace(self.data, knowledge=rows)
        elif current_texts:
            rows = np.array(self.data.knowledge)
            rows[[*current_texts]] = judge.vectors.of([*current_texts.values()]).cpu().numpy()
            data = replace(self.data, knowledge=rows)
        else:
            data = self.data
        return self.recommender.measure(judge.with_text.network, data)

    def initial_texts(self) -> list[str]:
        """The text that stands for each item before alignment."""
        inputs = self.inputs
        return texts_to_encode(inputs.item_texts, inputs.knowledge, inputs.settings.encoding.text)

    def write(self, prompts: list[Prompt]) -> list[str]:
        """Answers of the LLM as it is, whole, as the knowledge stage would get them."""
        config = self.inputs.settings.knowledge
        sampling = Sampling(
            config.max_new_tokens, config.temperature, config.repetition_penalty, config.seed
        )
        size = self.writer.prompts_at_a_time
        return [
            answer.text
            for start in range(0, len(prompts), size)
            for answer in self.writer.generate(prompts[start : start + size], sampling)
        ]


def open_models(inputs: AlignmentInputs, folder: Path, cache: Path) -> Models:
    """Fit the recommenders, or read those of an earlier call, and load LLM and encoder.

    Args:
        inputs: of the alignment.
        folder: gets checkpoints of the recommenders and the items' vectors.
        cache: folder of downloads, and of the texts of a pool, which is filled first.

    Raises:
        ConfigError: a model can't be read, or a setting doesn't fit another.
        InputError: there is nothing to learn from, or a training diverged.
    """
    settings = inputs.settings
    settings.check()
    config, size = settings.alignment, settings.recommender.member_size
    policy, tokenizer = open_policy(settings.knowledge.model, config, cache)
    writer = LocalModel(
        settings.knowledge.model, policy.model, tokenizer, settings.knowledge.batch_size
    )
    encoder = SentenceEncoder(settings.encoder, cache, config.device)
    vectors = _vectors(inputs, encoder, folder / _VECTORS)
    data = inputs.training_data(vectors)
    examples = Examples(data.sequences, settings.recommender.max_length)
    prompts = ItemPrompts(
        inputs.item_texts, settings.knowledge, settings.encoding.text, tokenizer, writer.render
    )
    of_texts = TextVectors(
        encoder, frozen=config.freeze_encoder, batch_size=settings.encoding.batch_size
    )
    whitening = Whitening.of(vectors, size)
    pool, drawn = None, None
    if config.mode == "pool":
        pool = open_pool(
            inputs.item_texts,
            data.counts(),
            settings.encoding.text,
            settings.knowledge,
            config,
            cache,
            lambda: PoolWriter(policy, prompts, config),
        )
        if config.train_on_pool:
            drawn = DrawnTexts.of(pool, of_texts, vectors, whitening)
    fitted = fit_with_knowledge(
        settings.recommender, settings.training, data, folder / "with_text", drawn
    )
    alone = fit_without_knowledge(settings.recommender, settings.training, data, folder / "ids")
    is_trained = data.counts() > 0
    device = policy.model.device
    judge = Judge(
        TextLikelihood(fitted.network.to(device), whitening, is_trained),
        IdLikelihood(alone.network.to(device), is_trained),
        of_texts,
    )
    return Models(inputs, policy, tokenizer, writer, prompts, judge, examples, fitted, data, pool)


def _vectors(inputs: AlignmentInputs, encoder: SentenceEncoder, path: Path) -> Vectors:
    """Vectors of the items before alignment, float32 [N+1, K]; kept in a file."""
    if path.is_file():
        vectors: Vectors = np.load(path, allow_pickle=False)
        return vectors
    encoding = inputs.settings.encoding
    rows = encode_items(inputs.item_texts, inputs.knowledge, encoding, encoder)
    vectors = np.vstack([np.zeros((1, rows.shape[1]), np.float32), rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_array(path, vectors)
    return vectors
