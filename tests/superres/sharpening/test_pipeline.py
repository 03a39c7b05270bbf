import itertools
import queue
import threading

import pytest

from decametre.superres.sharpening import pipeline
from decametre.superres.sharpening.pipeline import read_ahead


def test_items_arrive_in_order():
    assert list(read_ahead(lambda: iter(range(50)), 2)) == list(range(50))


def test_prefetching_is_limited(monkeypatch):
    full = threading.Event()

    class Queue(queue.Queue):
        def put(self, *arguments, **options):
            try:
                super().put(*arguments, **options)
            except queue.Full:
                full.set()
                raise

    monkeypatch.setattr(pipeline.queue, "Queue", Queue)
    read = []

    def numbers():
        for number in itertools.count():
            read.append(number)
            yield number

    ahead = read_ahead(numbers, 2)
    assert next(ahead) == 0
    assert full.wait(60)
    assert read == [0, 1, 2, 3]  # consumed, two in the queue, and the one that has no room
    ahead.close()


def test_an_error_in_the_thread_is_raised_here():
    def broken():
        yield 1
        raise ValueError("at 2")

    ahead = read_ahead(broken, 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="at 2"):
        next(ahead)


def test_the_thread_stops_with_the_consumer():
    before = threading.active_count()
    ahead = read_ahead(lambda: itertools.count(), 2)
    next(ahead)
    ahead.close()
    assert threading.active_count() == before
