"""The devices to compute on, and the numeric precision."""

from __future__ import annotations

from pathlib import Path

import torch

from decametre.errors import DeviceError, UnknownNameError
from decametre.options import PRECISIONS

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""CPU flags of Linux for bfloat16 arithmetic in hardware: two of x86, and that of ARM."""

CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux lists the flags of the CPU."""


def choose_devices(name: str) -> list[torch.device]:
    """The devices that share the windows.

    Args:
        name: `auto` (all GPUs, or the CPU if there is no GPU), `cpu`, `cuda` (all GPUs) or
            `cuda:N`.

    Raises:
        DeviceError: The device is not there, or the name is none.
    """
    count = torch.cuda.device_count()
    every = [torch.device("cuda", index) for index in range(count)]
    if name == "cpu" or (name == "auto" and not count):
        return [torch.device("cpu")]
    if name in ("auto", "cuda"):
        if not count:
            raise DeviceError("--device cuda: torch sees no GPU here; use --device cpu")
        return every
    kind, _, index = name.partition(":")
    if kind != "cuda" or not index.isdigit():
        raise DeviceError(f"--device {name}: give auto, cpu, cuda or cuda:N")
    if int(index) >= count:
        raise DeviceError(f"--device {name}: torch sees {count} GPUs here, counted from 0")
    return [every[int(index)]]


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The precision of the convolutions.

    Args:
        name: `auto`, `float32` or `bfloat16`. `auto` chooses bfloat16 on devices with bfloat16
            arithmetic in hardware: GPUs of compute capability 8.0 and later, CPUs with one of
            `BFLOAT16_FLAGS`. Nothing is timed, so a machine always chooses the same.
        device: Where the network will run.

    Raises:
        UnknownNameError: No such precision.
    """
    if name not in PRECISIONS:
        raise UnknownNameError("precision", name, PRECISIONS)
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        fast = bool(bfloat16_flags())
    return torch.bfloat16 if fast else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(precision).removeprefix("torch.")


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """A context in which networks compute in this precision; no change for `torch.float32`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)


def bfloat16_flags() -> list[str]:
    """The CPU's flags for bfloat16 arithmetic; empty where the system does not list flags."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    # "flags : ..." on x86, "Features : ..." on ARM; all cores have the same.
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return [flag for flag in BFLOAT16_FLAGS if flag in flags.split()]
