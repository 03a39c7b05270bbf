import itertools
import threading
import time

import pytest

from decametre.superres.sharpening.pipeline import read_ahead


def test_everything_arrives_in_order():
    assert list(read_ahead(lambda: iter(range(50)), 2)) == list(range(50))


def test_it_reads_ahead_but_not_further():
    made = []

    def numbers():
        for number in itertools.count():
            made.append(number)
            yield number

    ahead = read_ahead(numbers, 2)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 2 + 1  # taken, waiting, and the one that finds no room
    ahead.close()


def test_an_error_in_the_thread_is_raised_here():
    def broken():
        yield 1
        raise ValueError("at 2")

    ahead = read_ahead(broken, 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="at 2"):
        next(ahead)


def test_a_consumer_that_stops_early_leaves_no_thread():
    before = threading.active_count()
    ahead = read_ahead(lambda: itertools.count(), 2)
    next(ahead)
    ahead.close()
    assert threading.active_count() == before
