"""What becomes of a signal where the main thread computes, waits, or hangs."""

import signal
import subprocess
import sys
import threading

import pytest

from decametre.training.stopping import HangWatchdog

PROGRAM = """
import ctypes, signal, threading, time
from decametre.training import stopping

stopping.PATIENCE, stopping.PULSE = 1.0, 0.1
signal.signal(signal.SIGINT, lambda number, frame: print("asked", flush=True))
signal.signal(signal.SIGTERM, lambda number, frame: print("asked", flush=True))
held, begun = threading.Lock(), time.monotonic()
held.acquire()
library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with stopping.Watch("rank 1 of 2"):
    print("ready", flush=True)
    {work}
print("done", flush=True)
"""

HANGS = "library.pthread_mutex_lock(mutex), library.pthread_mutex_lock(mutex)"
"""Within C, which no signal interrupts: so torch waits for other ranks."""

COMPUTES = "while time.monotonic() < begun + 3: pass"
WAITS = "held.acquire(timeout=3)"


def answer(work, number):
    """Exit status and outputs of a process that gets a signal while it is at work."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_hangs_is_ended_with_one_line(number):
    status, out, err = answer(HANGS, number)
    assert status == 130
    assert "done" not in out
    (line,) = err.splitlines()
    assert line.startswith("rank 1 of 2: stop requested, but the other ranks have not responded")


@pytest.mark.parametrize("work", [COMPUTES, WAITS])
def test_a_process_that_can_answer_is_left_alone(work):
    assert answer(work, signal.SIGTERM) == (0, "asked\ndone\n", "")


def test_a_watch_leaves_nothing():
    before = threading.active_count(), signal.getsignal(signal.SIGURG)
    with HangWatchdog("rank 0 of 2"):
        pass
    assert (threading.active_count(), signal.getsignal(signal.SIGURG)) == before
    assert signal.set_wakeup_fd(-1) == -1
