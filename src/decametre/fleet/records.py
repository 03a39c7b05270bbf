"""What the journal of a fleet records of workers, attempts, products and failures."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from decametre.fleet.events import Event

OTHER = "other"
"""The part of a product's time that belongs to none of its stages."""

WAIT = "wait"
"""The stage in which a product waits for its turn on the device."""

ROUNDING_SECONDS = 0.01
"""Largest difference between a product's time and the sum of its stages that is rounding."""


@dataclass(slots=True)
class WorkerInterval:
    """The time in which a worker belonged to a run.

    Attributes:
        run: Number of the run.
        address: Its address, unique within the run.
        name: Its name in the cluster; a worker that replaces a killed one has the same name.
        host: Its machine.
        threads: Its CPU threads.
        gpus: Its GPUs.
        memory: Memory that it may use, in bytes.
        start: When it joined.
        end: When it left; infinite while it is there.
    """

    run: int
    address: str
    name: str
    host: str
    threads: int
    gpus: int
    memory: int
    start: float
    end: float = math.inf

    @classmethod
    def of(cls, run: int, event: Event) -> WorkerInterval:
        """From an event `worker`."""
        return cls(
            run,
            sys.intern(event["worker"]),
            str(event["name"]),
            event["host"],
            event["threads"],
            event["gpus"],
            event["memory"],
            event["time"],
        )


@dataclass(slots=True)
class Attempt:
    """An attempt to process a product.

    Attributes:
        run: Number of the run.
        worker: Address of the worker.
        start: When it started, by the worker's clock.
        end: When it ended, by the worker's clock.
        stages: Seconds of each stage in order; empty for a failed attempt.
    """

    run: int
    worker: str
    start: float
    end: float
    stages: dict[str, float]


@dataclass(slots=True)
class CompletedProduct(Attempt):
    """The attempt that completed a product.

    Attributes:
        name: Name of the product's folder.
        item: Its STAC item, relative to the output folder.
        device: Device that computed it.
        number: Number of the attempt, from 1.
        pixels: 10 m pixels.
        bytes_in: Size of the input; 0 if unknown.
        bytes_out: Size of the result.
        residuals: The consistency residual (RMSE) of each band in DN.
        quicklook: Its picture, relative to the output folder, or None.
    """

    name: str
    item: str
    device: str
    number: int
    pixels: int
    bytes_in: int
    bytes_out: int
    residuals: dict[str, float]
    quicklook: str | None

    @classmethod
    def of(cls, run: int, event: Event) -> CompletedProduct:
        """From an event `done`. Strings that many products share are stored once."""
        stages = {sys.intern(name): float(value) for name, value in event["stages"].items()}
        rest = event["end"] - event["start"] - sum(stages.values())
        if rest > ROUNDING_SECONDS:
            stages[OTHER] = rest
        return cls(
            run,
            sys.intern(event["worker"] or ""),
            event["start"],
            event["end"],
            stages,
            event["name"],
            event["item"],
            sys.intern(event["device"]),
            event["attempt"],
            event["pixels"],
            event["bytes_in"],
            event["bytes_out"],
            {
                sys.intern(band): float(residual["rmse_dn"])
                for band, residual in event["consistency"].items()
                if residual["rmse_dn"] is not None  # None: the band has no valid pixel
            },
            event["quicklook"],
        )


@dataclass(slots=True)
class Failure:
    """A product that failed in all attempts.

    Attributes:
        name: The product.
        source: Its path or URL.
        stage: The stage in which the last attempt failed.
        reason: Why it failed.
        attempts: Number of attempts.
    """

    name: str
    source: str
    stage: str
    reason: str
    attempts: int

    @classmethod
    def of(cls, event: Event) -> Failure:
        """From an event `failed`."""
        return cls(*(event[key] for key in ("name", "source", "stage", "reason", "attempt")))
