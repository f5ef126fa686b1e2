from collections.abc import Iterator

import pytest

from tests.offline.knowledge.chat_endpoint import Endpoint, serving_endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving_endpoint() as endpoint:
        yield endpoint
