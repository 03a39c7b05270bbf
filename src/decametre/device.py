"""Where to compute, and with which numbers."""

from __future__ import annotations

import functools
import time

import torch
from torch import nn

from decametre.choices import PRECISIONS
from decametre.errors import DeviceError, UnknownNameError

PROBE_GAIN = 1.2
"""bfloat16 must be faster by this factor in the probe to be chosen."""


def choose_devices(name: str) -> list[torch.device]:
    """The devices that share the windows.

    Args:
        name: `auto` (all GPUs, or the processor where there is none), `cpu`, `cuda` (all GPUs) or
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
        name: `auto`, `float32` or `bfloat16`. `auto` takes bfloat16 on GPUs that have it in
            hardware, and on processors where a short probe shows it to be faster.
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
        fast = bfloat16_gain() > PROBE_GAIN
    return torch.bfloat16 if fast else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(precision).removeprefix("torch.")


@functools.cache
def bfloat16_gain() -> float:
    """How many times faster this processor does a typical convolution in bfloat16."""
    conv = nn.Conv2d(96, 96, 3, padding=1).to(memory_format=torch.channels_last)
    image = torch.randn(1, 96, 128, 128).to(memory_format=torch.channels_last)
    seconds = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            layer, x = conv.to(dtype), image.to(dtype)
            layer(x)
            runs = []
            for _ in range(3):
                start = time.perf_counter()
                layer(x)
                runs.append(time.perf_counter() - start)
            seconds[dtype] = min(runs)
    return seconds[torch.float32] / seconds[torch.bfloat16]
