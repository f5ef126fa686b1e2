import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from offline.instruction.similar_users import NOBODY, SimilarUsers, unit_rows

matrices = arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.integers(-3, 3)
)


@given(matrices)
def test_the_nearest_is_the_other_user_with_the_highest_cosine(vectors: np.ndarray) -> None:
    unit = unit_rows(vectors)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    found = SimilarUsers(vectors).nearest(vectors, range(len(vectors)))
    for user, other in enumerate(found):
        best = cosines[user].max()
        if best > 1e-6:
            assert other != user
            assert cosines[user, other] == pytest.approx(best, abs=1e-5)
        elif best < -1e-6:
            assert other == NOBODY


def test_a_vector_of_no_user_may_be_nearest_to_any() -> None:
    users = SimilarUsers(np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    asked = np.array([[5, 1], [1, 5], [-2, 0.1], [0, 0]], np.float32)
    assert users.nearest(asked, [NOBODY] * 4).tolist() == [0, 1, 2, NOBODY]


def test_a_user_without_a_vector_is_similar_to_nobody() -> None:
    users = SimilarUsers(np.array([[0, 0], [1, 1], [-1, -1]], np.float32))
    found = users.nearest(np.array([[0, 0], [1, 1], [-1, -1]], np.float32), [0, 1, 2])
    assert found.tolist() == [NOBODY] * 3


def test_more_users_than_a_batch_are_all_answered() -> None:
    angles = np.linspace(0, 1, 2_500, dtype=np.float32)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = SimilarUsers(vectors).nearest(vectors, range(len(vectors)))
    assert (np.abs(found - np.arange(len(vectors))) <= 40).all()
    assert (found != np.arange(len(vectors))).all()


def test_without_users_nobody_is_found() -> None:
    nobody = np.zeros((0, 3), np.float32)
    assert (
        SimilarUsers(nobody).nearest(np.ones((2, 3), np.float32), [NOBODY] * 2).tolist()
        == [NOBODY] * 2
    )
