import numpy as np
import pytest

from offline.encoding.config import EncodingConfig
from offline.encoding.item_vectors import encode_items, shuffle_items, text_to_encode
from offline.encoding.sentence_encoder import SentenceEncoder

ITEMS = ["title : toy story", "title : war", "title : toy story", "title : a quiet film"]
KNOWLEDGE = ["people enjoy the fun .", "action", "people enjoy the fun .", ""]


@pytest.mark.parametrize(
    ("which", "text"), [("item", "A"), ("knowledge", "likes"), ("item+knowledge", "A\nlikes")]
)
def test_the_configured_text_is_encoded(which: str, text: str) -> None:
    config = EncodingConfig.model_validate({"text": which})
    assert text_to_encode("A", "likes", config.text) == text


@pytest.mark.parametrize("which", ["item", "knowledge", "item+knowledge"])
def test_an_item_without_knowledge_is_its_own_text(which: str) -> None:
    assert text_to_encode("A", "", EncodingConfig.model_validate({"text": which}).text) == "A"


def test_vectors_are_aligned_with_the_items(tiny_encoder: SentenceEncoder) -> None:
    vectors = encode_items(ITEMS, KNOWLEDGE, EncodingConfig(batch_size=2), tiny_encoder)
    texts = [
        text_to_encode(item, known, "item+knowledge")
        for item, known in zip(ITEMS, KNOWLEDGE, strict=True)
    ]
    expected = np.vstack([tiny_encoder.encode([text]) for text in texts])
    assert vectors.shape == expected.shape
    assert np.abs(vectors - expected).max() < 1e-5


def test_knowledge_moves_an_item(tiny_encoder: SentenceEncoder) -> None:
    with_it = encode_items(ITEMS, KNOWLEDGE, EncodingConfig(), tiny_encoder)
    without = encode_items(ITEMS, KNOWLEDGE, EncodingConfig(text="item"), tiny_encoder)
    moved = np.linalg.norm(with_it - without, axis=1)
    assert moved[0] > 0.01
    assert moved[3] < 1e-5


def test_misaligned_knowledge_is_rejected(tiny_encoder: SentenceEncoder) -> None:
    with pytest.raises(ValueError, match="shorter"):
        encode_items(ITEMS, KNOWLEDGE[:2], EncodingConfig(), tiny_encoder)


def test_shuffling_permutes_rows_and_nothing_else(tiny_encoder: SentenceEncoder) -> None:
    texts = [f"title : {word}" for word in ("toy", "story", "war", "quiet", "film", "fun")]
    written = [""] * len(texts)
    plain = encode_items(texts, written, EncodingConfig(), tiny_encoder)
    shuffled = encode_items(texts, written, EncodingConfig(shuffled=True), tiny_encoder)
    assert len(np.unique(plain, axis=0)) == len(texts)
    assert not np.array_equal(shuffled, plain)
    np.testing.assert_array_equal(np.unique(shuffled, axis=0), np.unique(plain, axis=0))
    again = encode_items(texts, written, EncodingConfig(shuffled=True), tiny_encoder)
    np.testing.assert_array_equal(again, shuffled)


def test_few_items_of_many_keep_their_vector() -> None:
    vectors = np.arange(2_000, dtype=np.float32).reshape(1_000, 2)
    kept = (shuffle_items(vectors) == vectors).all(axis=1).sum()
    assert kept <= 5
