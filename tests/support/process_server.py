"""The process that `processes.py` starts: it imports modules once, and forks on request."""

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


def serve(channel):
    """Fork on request, and send back the id and later the exit status of each new process.

    Returns:
        In a forked process its request; in the server None, when the client has ended.
    """
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is channel:
                request, handles, _, _ = socket.recv_fds(channel, 2**20, 3)
                if not request:
                    return None
                pid = os.fork()
                if not pid:
                    selector.close()
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
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, replies))
            else:
                selector.unregister(key.fileobj)
                os.close(key.fileobj)
                pid, replies = key.data
                _, status = os.waitpid(pid, 0)
                with replies:
                    try:
                        replies.send(str(os.waitstatus_to_exitcode(status)).encode())
                    except BrokenPipeError:  # the client no longer waits for it
                        continue


def become(words, environment, folder):
    """Run what `python WORDS` runs."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if torch := sys.modules.get("torch"):
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
    """Run a request; returns the status with which an interpreter would exit."""
    try:
        become(*request)
    except SystemExit as exit:
        if exit.code is None or isinstance(exit.code, int):
            return exit.code or 0
        print(exit.code, file=sys.stderr)  # noqa: T201
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(status):
    """End as an interpreter does, but without clearing all modules."""
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(channel, modules):
    # Ctrl-C in a terminal ends the client, and with it this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # keeps memory shared, because no process collects these objects
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    request = serve(channel)
    end(0 if request is None else status_of(request))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
