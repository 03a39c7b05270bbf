"""A single process that sharpens a list of products one by one, for comparison with a fleet.

Run it as `python -m benchmarks.fleet_alone LIST OUT PRECISION CORES`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

from decametre.fleet.inputs.product_list import read_listing
from decametre.fleet.jobs import Sharpen
from decametre.fleet.worker import TaskRequest, run_task
from decametre.superres.sharpening.options import SharpenOptions
from decametre.version import __version__


def main(listing: str, out: str, precision: str, cores: str) -> None:
    """Sharpen all products of a list into folders in `out`, with one thread.

    Prints the seconds from the start of the first product to the end of the last.

    Args:
        listing: See `read_listing`.
        out: The output folder, which must not exist.
        precision: Numeric precision of the networks.
        cores: Number of CPU cores that the process may use; more than one allow prefetching.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    torch.set_num_threads(1)
    work = Sharpen(SharpenOptions(device="cpu", precision=precision))
    settings = work.settings()
    Path(out).mkdir()
    start = time.monotonic()
    for entry in read_listing(listing, Path(out) / "items"):
        outcome = run_task(TaskRequest(work, settings, __version__, entry, out, None, 1))
        if outcome.failed:
            raise RuntimeError(f"{entry.name}: {outcome.fields['reason']}")
    print(time.monotonic() - start)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
