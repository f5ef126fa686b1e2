import pytest

from offline.encoding.sentence_encoder import SentenceEncoder
from tests.offline.encoding.tiny_encoder import make_tiny_bert


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    """A real, tiny encoder with random weights; its texts are cut at 40 tokens."""
    folder = make_tiny_bert(tmp_path_factory.mktemp("bert"))
    return SentenceEncoder(str(folder), folder, device="cpu")
