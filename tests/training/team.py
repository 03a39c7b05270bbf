"""Several processes that train together on loopback, for tests."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.processes import REPOSITORY, Process

LIMIT = 600
"""Seconds after which processes count as hanging; no result depends on it."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def variables(rank, size, port):
    """What torchrun sets."""
    return {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def start(command, size):
    """One process a rank, all with the same command."""
    return start_each([command] * size)


def start_each(commands):
    """One process a rank, each with its own command."""
    port = free_port()
    return [
        Process(command, env=variables(rank, len(commands), port), cwd=REPOSITORY)
        for rank, command in enumerate(commands)
    ]


def finish(processes):
    """What each of them leaves: exit status, standard output, standard error."""
    found = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            for other in processes:
                other.kill()
            raise
        found.append((process.returncode, out, err))
    return found


def together(function, size, folder, **arguments):
    """What a function of this package's tests returns on each rank; it gets `ranks` first."""
    job = folder / "job.pickle"
    job.write_bytes(pickle.dumps((function.__module__, function.__qualname__, arguments)))
    ended = finish(start([sys.executable, "-m", "tests.training.team", job], size))
    for status, _, err in ended:
        assert status == 0, err
    return [
        pickle.loads(job.with_suffix(f".{rank}").read_bytes())  # our own
        for rank in range(size)
    ]


def main(job):
    import importlib

    from decametre.training.launcher import read_rank_info
    from decametre.training.ranks import join_ranks

    module, name, arguments = pickle.loads(job.read_bytes())  # our own
    place = read_rank_info()
    with join_ranks(place, "cpu") as ranks:
        result = getattr(importlib.import_module(module), name)(ranks, **arguments)
    job.with_suffix(f".{place.rank}").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
