"""Processes of Python that have torch and the like in memory from their first moment on.

To import them takes a process seconds, and many tests start several: ranks that train together,
jobs that are killed. So one process (`process_server.py`) imports them once and forks. What it
forks has its own id, signals, limits, environment and outputs; a module or code runs in it as
`__main__`, and what is to be done at exit is done. It shares with its siblings what an interpreter
draws when it starts, the seed of its hashes, and leaves the taking apart of all modules out. Where
that may matter, start real processes, as some tests of the command line and that of torchrun do.
"""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


class Process:
    """As `subprocess.Popen` with outputs in pipes and as text.

    Args:
        words: `sys.executable`, `-m MODULE` or `-c CODE`, and arguments.
        env: Its environment; this process's own without.
        cwd: Its working directory; this process's own without.
    """

    def __init__(self, words, *, env=None, cwd=None):
        self.args = [str(word) for word in words]
        assert self.args[0] == sys.executable
        self.returncode = None
        self.files = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.replies, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = [self.args[1:], dict(os.environ if env is None else env), str(cwd or Path.cwd())]
        with its:
            handles = [file.fileno() for file in (*self.files, its)]
            socket.send_fds(server(), [json.dumps(request).encode()], handles)
        self.pid = self._reply(None)

    def _reply(self, timeout):
        self.replies.settimeout(timeout)
        said = self.replies.recv(32)
        assert said, "the server of processes has ended"
        return int(said)

    def wait(self, timeout=None):
        """Its exit status, once it has ended; the negative number of the signal that killed it."""
        if self.returncode is None:
            try:
                self.returncode = self._reply(timeout)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self.replies.close()
        return self.returncode

    def poll(self):
        """The exit status, or None."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout=None):
        """Standard output and standard error, once it has ended."""
        self.wait(timeout)
        for file in self.files:
            file.seek(0)
        return tuple(file.read() for file in self.files)

    def send_signal(self, number):
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(words, **options):
    """As `subprocess.run` with outputs captured as text."""
    process = Process(words, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@functools.cache
def server():
    """The channel to the server, which ends with this process."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.process_server", str(its.fileno())],
            pass_fds=[its.fileno()],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # a process with threads cannot fork
            stdin=subprocess.DEVNULL,
        )

    def end():
        mine.close()
        process.wait()

    atexit.register(end)
    return mine
