"""Which workers a single machine gets."""

from __future__ import annotations

import os
from typing import Any

import torch

from decametre.errors import FleetError
from decametre.fleet.preload import PRODUCTS_PER_WORKER

THREADS = 4
"""Of a worker without a GPU: torch makes less of each further one."""


def local_workers(
    count: int | None, device: str, memory: int, cores: int, total: int
) -> tuple[list[dict[str, Any]], str]:
    """One worker a GPU, or one for every few cores.

    Args:
        count: How many; what suits the machine without.
        device: As in `sharpen`: with `cpu`, GPUs are left alone.
        memory: Bytes that the largest product needs: by default there are no more workers than
            have that for each product that they take at a time.
        cores: Of the machine, as far as this process may use them.
        total: Its bytes of memory, likewise.

    Returns:
        Threads, bytes and environment of each, and the cluster in words.

    Raises:
        FleetError: The count makes no sense, or there are fewer GPUs.
    """
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if count is not None and count < 1:
        raise FleetError(f"--workers {count}: give 1 or more")
    if device not in ("auto", "cpu", "cuda"):
        raise FleetError(f"--device {device}: a fleet takes auto, cpu or cuda")
    if device == "cuda" and not gpus:
        raise FleetError("--device cuda: torch sees no GPU here; use --device cpu")
    if gpus and count is not None and count > gpus:
        raise FleetError(f"--workers {count}: there are {gpus} GPUs, and each takes one worker")
    suits = gpus or max(1, min(-(-cores // THREADS), total // (PRODUCTS_PER_WORKER * memory)))
    number = count or suits
    threads = max(1, cores // number)
    # Numbers or names: those that this process was given count.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = visible if len(visible) >= gpus > 0 and visible[0] else [str(i) for i in range(gpus)]
    common = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS"), str(threads))
    specs = [
        {
            "threads": threads,
            "memory": total // number,
            "env": common | ({"CUDA_VISIBLE_DEVICES": visible[index]} if gpus else {}),
        }
        for index in range(number)
    ]
    each = f"{threads} thread{'s' * (threads > 1)}"
    kind = f"a GPU and {each}" if gpus else each
    return specs, f"{number} local worker{'s' * (number > 1)} of {kind}"
