"""The process that `processes.py` starts: imports once, forks on request."""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

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


def serve(channel):
    """Fork on request, and tell who asked of the new process's id and its end.

    Returns:
        In a forked process what it is to do; None when nobody is left to ask.
    """
    asked = selectors.DefaultSelector()
    asked.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in asked.select():
            if key.fileobj is channel:
                request, handles, _, _ = socket.recv_fds(channel, 2**20, 3)
                if not request:
                    return None
                pid = os.fork()
                if not pid:
                    asked.close()
                    channel.close()
                    for number, handle in enumerate(handles, 1):
                        if number < 3:
                            os.dup2(handle, number)
                        os.close(handle)
                    return json.loads(request)
                out, err, reply = handles
                os.close(out)
                os.close(err)
                replies = socket.socket(fileno=reply)
                replies.send(str(pid).encode())
                asked.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, replies))
            else:
                asked.unregister(key.fileobj)
                os.close(key.fileobj)
                pid, replies = key.data
                _, status = os.waitpid(pid, 0)
                with replies:
                    try:
                        replies.send(str(os.waitstatus_to_exitcode(status)).encode())
                    except BrokenPipeError:  # nobody waits for it any more
                        continue


def become(words, environment, folder):
    """Do what `python WORDS` does."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count()))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    option, what, *rest = words
    if option == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert option == "-c"
        sys.argv = ["-c", *rest]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


def status_of(request):
    """Do what is asked, and say with which status an interpreter would end."""
    try:
        become(*request)
    except SystemExit as asked:
        if asked.code is None or isinstance(asked.code, int):
            return asked.code or 0
        print(asked.code, file=sys.stderr)  # noqa: T201
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(status):
    """End as an interpreter does, but for taking apart, module by module, what was imported."""
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(channel):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; who asked ends, and so do we
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is shared stays so, and is not looked through again by each process
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    request = serve(channel)
    end(0 if request is None else status_of(request))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
