"""Effect of a stop signal while the main thread computes, waits, or hangs.

The watchdog's clock is a fake one: it advances by one second in each response of the main thread,
or, if that hangs, in each check. So the result does not depend on the speed of the machine.
"""

import signal
import subprocess
import sys
import threading

import pytest

from decametre.training.stopping import HangWatchdog

PROGRAM = """
import ctypes, itertools, signal, threading
from decametre.training import stopping

stopping.WATCHDOG_INTERVAL = 0.005
signal.signal(signal.SIGINT, lambda number, frame: print("stop requested", flush=True))
signal.signal(signal.SIGTERM, lambda number, frame: print("stop requested", flush=True))
lock, responses = threading.Lock(), 0
lock.acquire()
library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)

class Watchdog(stopping.HangWatchdog):
    def _respond(self, number, frame):
        global responses
        super()._respond(number, frame)
        responses += 1
        if responses == 3 * stopping.HANG_TIMEOUT:
            lock.release()

with Watchdog("rank 1 of 2", {clock}):
    print("ready", flush=True)
    {work}
print("done", flush=True)
"""

CHECKS = "itertools.count().__next__"
RESPONSES = "lambda: responses"

HANGS = "library.pthread_mutex_lock(mutex), library.pthread_mutex_lock(mutex)"
"""Within C, which no signal interrupts, as torch waits for other ranks."""

COMPUTES = "while lock.locked(): pass"
WAITS = "lock.acquire()"


def run(work, clock, number):
    """Exit status and outputs of a process that gets a signal during its work."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work, clock=clock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_hangs_is_ended_with_one_line(number):
    status, out, err = run(HANGS, CHECKS, number)
    assert status == 130
    assert "done" not in out
    (line,) = err.splitlines()
    assert line.startswith("rank 1 of 2: stop requested, but the other ranks have not responded")


@pytest.mark.parametrize("work", [COMPUTES, WAITS])
def test_a_process_that_responds_is_left_alone(work):
    """Three times as long as a process that hangs."""
    assert run(work, RESPONSES, signal.SIGTERM) == (0, "stop requested\ndone\n", "")


def test_a_watchdog_restores_everything():
    before = threading.active_count(), signal.getsignal(signal.SIGURG)
    with HangWatchdog("rank 0 of 2"):
        pass
    assert (threading.active_count(), signal.getsignal(signal.SIGURG)) == before
    assert signal.set_wakeup_fd(-1) == -1
