from pathlib import Path

import numpy as np
import pytest

from model_store.errors import ConfigError
from offline.encoding.sentence_encoder import SentenceEncoder
from tests.offline.encoding.tiny_encoder import DIMENSIONS, POSITIONS

TEXTS = [
    "war",
    "a quiet film about children and toy friends",
    "romance , drama",
    "what kind of person likes this story , and why ?",
    "the the the",
    "",
]


def test_vectors_have_the_encoders_size_and_length_1(tiny_encoder: SentenceEncoder) -> None:
    vectors = tiny_encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
def test_a_batch_gives_each_text_the_vector_it_has_alone(
    tiny_encoder: SentenceEncoder, batch_size: int
) -> None:
    alone = np.vstack([tiny_encoder.encode([text]) for text in TEXTS])
    together = tiny_encoder.encode(TEXTS, batch_size=batch_size)
    assert np.abs(together - alone).max() < 1e-5
    # Different texts are different vectors, so a mixed-up order would show.
    assert np.linalg.norm(alone[:, None] - alone[None], axis=2)[np.triu_indices(6, 1)].min() > 0.01


def test_the_vector_is_the_mean_of_the_tokens_states(tiny_encoder: SentenceEncoder) -> None:
    import torch

    encoded = tiny_encoder.tokenizer("toy story", return_tensors="pt")
    with torch.inference_mode():
        states = tiny_encoder.pooled.model(**encoded).last_hidden_state[0].numpy()
    mean = states.mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    assert np.abs(tiny_encoder.encode(["toy story"])[0] - expected).max() < 1e-5


def test_a_long_text_is_cut_where_the_encoder_ends(tiny_encoder: SentenceEncoder) -> None:
    assert tiny_encoder.max_tokens == POSITIONS
    kept = POSITIONS - 2  # [CLS] and [SEP] stay
    long = tiny_encoder.encode(["toy " * kept + "war " * 300, "toy " * kept])
    assert np.abs(long[0] - long[1]).max() < 1e-5


def test_tokens_are_counted_up_to_where_a_text_is_cut(tiny_encoder: SentenceEncoder) -> None:
    counts = tiny_encoder.count_tokens(["toy", "toy story toy", "toy " * 300])
    assert counts.tolist() == [3, 5, POSITIONS]  # with [CLS] and [SEP]
    assert tiny_encoder.measure_pace(TEXTS, n_texts=4) > 0


def test_no_texts_are_no_vectors(tiny_encoder: SentenceEncoder) -> None:
    assert tiny_encoder.encode([]).shape == (0, DIMENSIONS)


def test_an_encoder_that_isnt_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SentenceEncoder(str(tmp_path / "no" / "such"), tmp_path)
    assert "such" in str(caught.value)
    assert "\n" not in str(caught.value)
