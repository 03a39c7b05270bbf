"""Where the launcher put this process, by the variables that it sets. Nothing here needs torch."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from decametre.errors import TrainingError

PORT = 29400
"""Where rank 0 listens under `srun`, plus a number made of those of job and step."""


@dataclass(frozen=True)
class Place:
    """Where the launcher put this process.

    Attributes:
        rank: Among all processes, from 0.
        size: How many processes there are: the world size.
        address: Where rank 0 listens, `host:port`; empty for a process on its own.
    """

    rank: int = 0
    size: int = 1
    address: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {socket.gethostname()}"


def place_of(variables: Mapping[str, str] = os.environ) -> Place:
    """Where this process stands, by the launcher's variables.

    torchrun sets `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`. A task of `srun` has
    SLURM's; any of torchrun's variables that are set go before them, which is how a heterogeneous
    job gives its own world size.

    Raises:
        TrainingError: A variable is missing or no number.
    """
    if "RANK" not in variables and "SLURM_STEP_NUM_TASKS" not in variables:
        return Place()  # in a batch script, outside of srun, SLURM_NTASKS says nothing of us

    def number(*names: str, default: int | None = None) -> int:
        for name in names:
            if name in variables:
                try:
                    return int(variables[name])
                except ValueError as error:
                    raise TrainingError(f"{name}={variables[name]} is no number") from error
        if default is None:
            raise TrainingError(f"{names[0]} is not set; start with torchrun or srun")
        return default

    size = number("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
    step = number("SLURM_JOB_ID", default=0) + number("SLURM_STEP_ID", default=0)
    port = number("MASTER_PORT", default=PORT + step % 1000)
    host = variables.get("MASTER_ADDR") or first_host(variables.get("SLURM_STEP_NODELIST", ""))
    return Place(number("RANK", "SLURM_PROCID"), size, f"{host}:{port}")


def first_host(nodes: str) -> str:
    """The first of SLURM's nodes, such as `gpu03` of `gpu[03-05,09],cpu1`.

    Raises:
        TrainingError: There is none.
    """
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    if not found or nodes[found.end() :].startswith("["):
        raise TrainingError(
            f"SLURM_STEP_NODELIST '{nodes}' names no host; set MASTER_ADDR to that of rank 0"
        )
    return "".join(part or "" for part in found.groups())
