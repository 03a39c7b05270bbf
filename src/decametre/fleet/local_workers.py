"""Choose the workers of a single machine: how many, with which threads, memory and GPU."""

from __future__ import annotations

import os
from typing import Any

import torch

from decametre.errors import FleetError
from decametre.fleet.preload import PRODUCTS_PER_WORKER

THREADS = 4
"""Threads of a worker without a GPU: torch gains little from more."""


def local_workers(
    count: int | None, device: str, memory: int, cores: int, total: int
) -> tuple[list[dict[str, Any]], str]:
    """Choose one worker per GPU or, without GPUs, one per `THREADS` cores.

    Args:
        count: Number of workers; None chooses it from cores, memory and GPUs.
        device: As in `sharpen`; `cpu` uses no GPU.
        memory: Bytes that the largest product needs. The default number of workers is limited so
            that each has this much for every product that it processes at a time.
        cores: Cores that this process may use.
        total: Bytes of memory that this process may use.

    Returns:
        For each worker its `threads`, `memory` in bytes and environment `env`; the cluster as text.

    Raises:
        FleetError: The count is below 1 or above the number of GPUs, or the device is unknown.
    """
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if count is not None and count < 1:
        raise FleetError(f"--workers {count}: give 1 or more")
    if device not in ("auto", "cpu", "cuda"):
        raise FleetError(f"--device {device}: a fleet takes auto, cpu or cuda")
    if device == "cuda" and not gpus:
        raise FleetError("--device cuda: torch finds no GPU here; use --device cpu")
    if gpus and count is not None and count > gpus:
        raise FleetError(f"--workers {count}: there are {gpus} GPUs, and each can have one worker")
    default = gpus or max(1, min(-(-cores // THREADS), total // (PRODUCTS_PER_WORKER * memory)))
    number = count or default
    threads = max(1, cores // number)
    # GPUs by number or name; if this process may use some only, its workers share those.
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
