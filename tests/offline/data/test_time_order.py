import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data.time_order import order_by_time, sort_by_time

times = st.floats(-1e12, 1e12) | st.integers(0, 4).map(float) | st.integers(10**9, 2**32).map(float)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 70_000), times), max_size=40))
def test_the_order_is_that_of_a_stable_sort(rows):
    users = np.array([user for user, _ in rows], dtype=np.uint32)
    timestamps = np.array([time for _, time in rows], dtype=np.float64)
    order = order_by_time(users, timestamps)
    np.testing.assert_array_equal(order, np.lexsort((timestamps, users)))
    again = order_by_time(users[order], timestamps[order])
    np.testing.assert_array_equal(again, np.arange(len(rows)))
    np.testing.assert_array_equal(sort_by_time(users, timestamps)[1], timestamps[order])
