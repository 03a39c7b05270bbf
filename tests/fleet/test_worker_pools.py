import socket
import threading

import pytest

from decametre.errors import FleetError
from decametre.fleet import worker_pools
from decametre.fleet.worker_pools import event_loop, scheduler_pool


def test_event_loop_runs_in_a_thread_until_the_block_ends():
    before = set(threading.enumerate())
    with event_loop() as loop:
        [thread] = set(threading.enumerate()) - before
        called = threading.Event()
        loop.add_callback(called.set)
        called.wait()
    assert not thread.is_alive()
    assert loop.asyncio_loop.is_closed()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1:999999"])
def test_no_listener_at_the_address(address, monkeypatch):
    monkeypatch.setattr(worker_pools, "CONNECT_TIMEOUT", 0.2)
    with (
        pytest.raises(FleetError, match=f"no dask scheduler answers at {address} "),
        scheduler_pool(address, 1),
    ):
        pass


def test_listener_that_never_answers(monkeypatch):
    monkeypatch.setattr(worker_pools, "CONNECT_TIMEOUT", 0.2)
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with (
            pytest.raises(FleetError, match=rf"(?i)no dask scheduler answers at {address} .*timed"),
            scheduler_pool(address, 1),
        ):
            pass
    new = {thread.name for thread in set(threading.enumerate()) - before}
    assert "dask event loop" not in new
