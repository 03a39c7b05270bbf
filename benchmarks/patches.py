"""How fast patches are cut from whole tiles, and in how much memory.

Tiles are made: a real crop mirrored to full size, as JPEG 2000 files in ESA's layout and as a
sharpened GeoTIFF. Everything is measured in one run on one machine.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_monitor import run_monitored
from decametre.bench.sharpen import full_size_product
from decametre.landcover.patches.store import PatchStore
from decametre.options import FULL_SIZE
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.opening import open_product
from decametre.superres.models.registry import models_for
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpened_tile import SharpenedRows, open_sharpened
from decametre.superres.sharpening.sharpening_job import run as sharpen
from tests.support.synthetic_tile import make_sharpened

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cutting:
    """One extraction, as a process of its own.

    Attributes:
        images: What every patch got.
        patches: How many were cut.
        seconds: From start to end, the start of Python included.
        peak_memory_gb: Largest memory of all its processes together, shared pages counted once, in
            1e9 bytes.
        written_gb: Size of the store in 1e9 bytes.
    """

    images: str
    patches: int
    seconds: float
    peak_memory_gb: float
    written_gb: float

    @property
    def rate(self) -> float:
        """Patches a second."""
        return self.patches / self.seconds


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        size: Rows and columns of the tile at 10 m.
        workers: Of the extractions.
        cores: Of the machine.
        cuttings: The extractions.
    """

    size: int
    workers: int
    cores: int
    cuttings: tuple[Cutting, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for cutting, entry in zip(self.cuttings, found["cuttings"], strict=True):
            entry["patches_per_second"] = cutting.rate
        return found

    def table(self) -> str:
        """For the terminal, in Markdown."""
        lines = [
            f"Cutting a tile of {self.size} x {self.size} pixels, {self.workers} workers on "
            f"{self.cores} cores:",
            "",
            "| images | patches | time | patches/s | peak memory | store |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {c.images} | {c.patches} | {c.seconds:.1f} s | {c.rate:.0f} | "
            f"{c.peak_memory_gb:.2f} GB | {c.written_gb:.2f} GB |"
            for c in self.cuttings
        ]
        return "\n".join(lines)


def run(source: str, cache: Path, size: int = FULL_SIZE, workers: int = 2) -> Report:
    """Measure.

    Args:
        source: A product whose pixels are mirrored to fill the tile.
        cache: Where the made product and tile are kept for the next time (3 GB at full size);
            stores are written there, and removed.
        size: Rows and columns at 10 m, a multiple of 6.
        workers: Processes that cut.
    """
    safe = full_size_product(source, cache, size)
    tile = full_size_tile(source, safe)
    cuttings = []
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for name, options in (
            ("native", []),
            ("sharpened", ["--sharpened", str(tile), "--no-native"]),
            ("native and sharpened", ["--sharpened", str(tile)]),
        ):
            log.info("cutting: %s", name)
            store = Path(scratch) / f"{name.replace(' ', '_')}.h5"
            cuttings.append(_cut(name, safe, store, [*options, "--workers", str(workers)]))
    return Report(size, workers, os.cpu_count() or 1, tuple(cuttings))


def full_size_tile(source: str, safe: Path) -> Path:
    """A sharpened tile of a full-size product, made once by mirroring what it was made from.

    Args:
        source: What it was made from.
        safe: The product, as `full_size_product` makes it; the tile is kept beside.
    """
    path = safe.parent / "sharpened.tif"
    if path.with_suffix(".json").exists():
        return path
    log.info("making a sharpened tile (once; kept in %s)", safe.parent)
    small, product = open_product(source), open_product(str(safe))
    with tempfile.TemporaryDirectory(dir=safe.parent) as scratch:
        sharp = Path(scratch) / "small.tif"
        window = small.grid.window
        sharpen(small, sharp, models_for(BAND_NAMES), window, SharpenOptions())
        with SharpenedRows(open_sharpened(sharp), 0, window.width, window.height) as rows:
            images = rows.read(0).copy()
        unfinished = Path(scratch) / path.name
        width = product.grid.width

        def mirrored(name: str, at: slice) -> np.ndarray:
            image = images[BAND_NAMES.index(name)]
            order = np.pad(np.arange(len(image)), (0, product.grid.height), mode="symmetric")[at]
            return np.pad(image[order], ((0, 0), (0, width - image.shape[1])), mode="symmetric")

        make_sharpened(unfinished, product, mirrored)
        unfinished.rename(path)
        unfinished.with_suffix(".json").rename(path.with_suffix(".json"))
    return path


def _cut(images: str, safe: Path, store: Path, options: Sequence[str]) -> Cutting:
    """`decametre patches extract` as users run it.

    Raises:
        DecametreError: It failed.
    """
    command = [sys.executable, "-m", "decametre", "-q", "patches", "extract", str(safe), str(store)]
    process = run_monitored([*command, *options])
    found = len(PatchStore(store))
    files = [store, *store.with_suffix(".shards").glob("*.h5")]
    written = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return Cutting(images, found, process.seconds, process.peak_memory_gb, written / 1e9)
