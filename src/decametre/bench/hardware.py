"""The hardware of a measurement as text, and the precision that is used on it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

from decametre.device import choose_devices, choose_precision, precision_name


def cpu_name() -> str:
    """The model name of the CPU, or the machine type if the system does not report one."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def describe_hardware(device: torch.device, precision: str, threads: int) -> str:
    """A rank's GPU and CPU, threads, precision and version of torch, as text."""
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    parts = [
        *gpu,
        cpu_name(),
        f"{threads} thread{'s' if threads > 1 else ''} a rank",
        precision,
        f"torch {torch.__version__}",
    ]
    return ", ".join(parts)


def resolve_precision(precision: str, device: str) -> str:
    """The precision that all processes of a measurement use.

    Args:
        precision: See `decametre.device.choose_precision`.
        device: See `decametre.device.choose_devices`.
    """
    return precision_name(choose_precision(precision, choose_devices(device)[0]))
