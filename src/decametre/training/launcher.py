"""Rank and world size of this process, from the launcher's variables. Needs no torch."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from decametre.errors import TrainingError

DEFAULT_PORT = 29400
"""Port of rank 0 under `srun`, before the numbers of job and step are added modulo 1000."""


@dataclass(frozen=True)
class RankInfo:
    """The position of this process in a distributed job.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes (the world size).
        address: Address of rank 0, `host:port`; empty for a single process.
    """

    rank: int = 0
    size: int = 1
    address: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {socket.gethostname()}"


def read_rank_info(variables: Mapping[str, str] = os.environ) -> RankInfo:
    """Read this process's position from the launcher's environment variables.

    torchrun sets `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`; a task of `srun` has those
    of SLURM. A variable of torchrun takes precedence over SLURM's: this is how a heterogeneous job
    passes its own world size.

    Raises:
        TrainingError: A variable is missing or not a number.
    """
    # A batch script outside of srun has SLURM_NTASKS, but is not a task itself.
    if "RANK" not in variables and "SLURM_STEP_NUM_TASKS" not in variables:
        return RankInfo()

    def number(*names: str, default: int | None = None) -> int:
        for name in names:
            if name in variables:
                try:
                    return int(variables[name])
                except ValueError as error:
                    raise TrainingError(f"{name}={variables[name]} is not a number") from error
        if default is None:
            raise TrainingError(f"{names[0]} is not set; start with torchrun or srun")
        return default

    size = number("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
    step = number("SLURM_JOB_ID", default=0) + number("SLURM_STEP_ID", default=0)
    port = number("MASTER_PORT", default=DEFAULT_PORT + step % 1000)
    host = variables.get("MASTER_ADDR") or first_host(variables.get("SLURM_STEP_NODELIST", ""))
    return RankInfo(number("RANK", "SLURM_PROCID"), size, f"{host}:{port}")


def first_host(nodes: str) -> str:
    """The first host of a SLURM node list, such as `gpu03` of `gpu[03-05,09],cpu1`.

    Raises:
        TrainingError: The list names no host.
    """
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    if not found or nodes[found.end() :].startswith("["):
        raise TrainingError(
            f"SLURM_STEP_NODELIST '{nodes}' names no host; set MASTER_ADDR to the host of rank 0"
        )
    return "".join(part or "" for part in found.groups())
