"""Work in threads gives its results in order, is bounded, and fails as work without threads does."""

import threading
import time

import pytest

from fedstream.aggregation.parallel import AHEAD, in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def late(number):
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(in_order(late, range(60), threads)) == [number * number for number in range(60)]
    assert list(in_order(late, [], threads)) == []


def test_no_more_items_are_read_than_wait_for_their_turn():
    read = []
    results = in_order(lambda number: number, (read.append(number) or number for number in range(1000)), 2)
    assert next(results) == 0
    assert len(read) == 2 * AHEAD + 1
    results.close()


def test_a_failure_is_raised_where_the_results_are_read():
    def fails(number):
        if number == 3:
            raise ValueError("three")
        return threading.get_ident()

    with pytest.raises(ValueError, match="three"):
        list(in_order(fails, range(100)))
