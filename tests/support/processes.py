"""Python processes that start with torch and other modules already imported.

These imports take seconds, and many tests start several processes: ranks that train together, jobs
that are killed. So one process (`process_server.py`) imports the modules once and forks. A forked
process has its own id, signals, limits, environment and outputs; it runs a module or code as
`__main__`, and runs its exit functions. Two things differ from a started process: all share one
hash seed, and modules are not cleared at the end. Where that matters, start real processes, as
some tests of the command line and of torchrun do.
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

PRELOADED = (
    "pytest",
    "timm",
    "torch._dynamo",
    "torchmetrics",
    "decametre.api.evaluation",
    "decametre.api.land_cover_evaluation",
    "decametre.api.land_cover_prediction",
    "decametre.api.sharpening",
    "decametre.api.training",
    "decametre.cli.main",
    "decametre.landcover.training.task",
    "decametre.superres.training.task",
)


class Process:
    """Like `subprocess.Popen` with outputs captured as text.

    Args:
        words: `sys.executable`, `-m MODULE` or `-c CODE`, and arguments.
        env: Its environment; by default that of this process.
        cwd: Its working directory; by default that of this process.
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
        reply = self.replies.recv(32)
        assert reply, "the process server has ended"
        return int(reply)

    def wait(self, timeout=None):
        """Wait for the end; returns the exit status, or the negative number of a signal."""
        if self.returncode is None:
            try:
                self.returncode = self._reply(timeout)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self.replies.close()
        return self.returncode

    def poll(self):
        """The exit status; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout=None):
        """Wait for the end; returns standard output and standard error."""
        self.wait(timeout)
        for file in self.files:
            file.seek(0)
        return tuple(file.read() for file in self.files)

    def send_signal(self, number):
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(words, **options):
    """Like `subprocess.run` with outputs captured as text."""
    process = Process(words, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@functools.cache
def server():
    """The channel to the server that has imported `PRELOADED`."""
    return start_server(PRELOADED)


def start_server(modules):
    """Start a server, which ends with this process; returns the channel to it."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.process_server", str(its.fileno()), *modules],
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
