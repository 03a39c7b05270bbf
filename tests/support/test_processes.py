"""Forked processes start, fail and die like started ones."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support import processes
from tests.support.processes import Process, run, start_server


@pytest.fixture(scope="module", autouse=True)
def server_without_modules():
    """What was imported does not matter here."""
    server = start_server([])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(processes, "server", lambda: server)
        yield


ENDS = [
    "print('out'); import sys; print('err', file=sys.stderr); sys.exit(3)",
    "import sys; sys.exit('a reason')",
    "import sys; sys.exit()",
    "import atexit; atexit.register(print, 'at exit')",
    "import threading, time; threading.Timer(0.1, print, ['from a thread']).start()",
    "import os; os.kill(os.getpid(), 9)",
    "import os, sys; print(sys.argv, os.getcwd(), os.environ['WORD'], __name__)",
    "import signal; print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))",
    "import sys; print(sys.stdin.read())",
]


@pytest.mark.parametrize("code", ENDS)
def test_status_and_outputs_are_those_of_a_started_process(code, tmp_path):
    words = [sys.executable, "-c", code, "a", "b c"]
    env = os.environ | {"WORD": "here"}
    started = subprocess.run(
        words, env=env, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    forked = run(words, env=env, cwd=tmp_path)
    assert forked.returncode == started.returncode
    assert forked.stdout.split(" at 0x")[0] == started.stdout.split(" at 0x")[0]
    assert forked.stderr == started.stderr


def test_an_exception_is_a_traceback_and_status_1():
    done = run([sys.executable, "-c", "1 / 0"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_module_runs_as_main():
    done = run([sys.executable, "-m", "json.tool", "--help"])
    assert done.returncode == 0
    assert "usage: " in done.stdout


def test_wait_and_kill():
    process = Process([sys.executable, "-c", "import time; time.sleep(600)"])
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.terminate()
    assert process.communicate(300) == ("", "")
    assert process.returncode == process.poll() == -signal.SIGTERM
    process.kill()  # no effect once it has ended
