"""The options of the benchmarks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from decametre.options import (
    DEFAULT_TILE,
    FULL_SIZE,
    Accepts,
    FilePath,
    Options,
    Text,
)
from decametre.recipes.options import RecipeOptions


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"'{text}' is not a list of numbers such as 1,2,4")
    return tuple(map(int, parts))


Numbers = Annotated[
    tuple[int, ...],
    BeforeValidator(tuple),
    Accepts("Sequence[int]"),
    Text(metavar="N,N...", parse=_numbers, repeatable=False),
]

Repeat = Annotated[
    int, Field(ge=1, description="Number of repetitions of each measurement, taken in turn.")
]

BenchFolder = Annotated[
    FilePath | None, Text(metavar="FOLDER"), Field(description="Write tables and figure here.")
]


class CacheOptions(Options):
    """Where a benchmark keeps synthetic products."""

    cache: Annotated[FilePath | None, Text(default="decametre/bench in the user's cache")] = None
    """Folder in which synthetic products, and results made from them, are kept."""

    @property
    def folder(self) -> Path:
        """The folder: by default, $XDG_CACHE_HOME/decametre/bench."""
        base = os.environ.get("XDG_CACHE_HOME")
        cache = Path(base) if base else Path.home() / ".cache"
        return self.cache or cache / "decametre" / "bench"


class TileBenchOptions(CacheOptions):
    """The synthetic tile that a benchmark processes."""

    size: Annotated[int, Field(ge=720, multiple_of=6)] = FULL_SIZE
    """Rows and columns at 10 m, a multiple of 6."""


class SharpenBenchOptions(TileBenchOptions):
    """Options of `bench sharpen`."""

    tile: Annotated[int, Field(ge=60)] = DEFAULT_TILE
    """Edge of the square that is computed at a time, in 10 m pixels."""


class TrainBenchOptions(RecipeOptions):
    """How training is measured."""

    steps: Annotated[int, Field(ge=1)] = 20
    """Batches per measurement."""


class ScalingBenchOptions(RecipeOptions):
    """How training on more and more ranks is measured."""

    ranks: Numbers = (1, 2)
    """Numbers of processes to start on this machine; one is always measured. Without effect under
    torchrun or srun, where none is started."""
    steps: Annotated[int, Field(ge=1)] = 10
    """Steps per measurement."""
    repeat: Repeat = 3
    latency: Annotated[float, Field(ge=0)] = 5.0
    """For the model: microseconds of a message from rank to rank."""
    bandwidth: Annotated[float, Field(gt=0)] = 10.0
    """For the model: GB/s of each link."""
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    """For the model: share of the communication that can run during back-propagation."""
    out: BenchFolder = None


class BalanceBenchOptions(RecipeOptions):
    """How training on ranks of unequal speed is measured."""

    ratios: Numbers = (1, 2, 4)
    """How many times faster the first rank is. The second one shares its core with so many
    processes, itself included."""
    steps: Annotated[int, Field(ge=4)] = 12
    """Steps per measurement."""
    repeat: Repeat = 3
    out: BenchFolder = None
