"""How fast patches are cut from a full tile, and how much memory that takes.

The tile is synthetic: a real crop mirrored to full size, as JPEG 2000 files in ESA's layout and as
a sharpened GeoTIFF. Everything is measured in one run on one machine.
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

from benchmarks.patch_run import PatchRun
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
class Report:
    """The results of the benchmark.

    Attributes:
        size: Rows and columns of the tile at 10 m.
        workers: Worker processes of each extraction.
        cores: CPU cores of the machine.
        runs: The extractions, named by the images that each patch gets.
    """

    size: int
    workers: int
    cores: int
    runs: tuple[PatchRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON."""
        return asdict(self) | {"runs": [run.to_dict() for run in self.runs]}

    def table(self) -> str:
        """The results as Markdown."""
        lines = [
            f"Cutting a tile of {self.size} x {self.size} pixels, {self.workers} workers on "
            f"{self.cores} cores:",
            "",
            "| images | patches | time | patches/s | peak memory | store |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {run.name} | {run.patches} | {run.seconds:.1f} s | {run.rate:.0f} | "
            f"{run.peak_memory_gb:.2f} GB | {run.written_gb:.2f} GB |"
            for run in self.runs
        ]
        return "\n".join(lines)


def run(source: str, cache: Path, size: int = FULL_SIZE, workers: int = 2) -> Report:
    """Run the benchmark.

    Args:
        source: A product whose pixels are mirrored to fill the tile.
        cache: Folder in which the synthetic product and tile are kept for the next run (3 GB at
            full size). Stores are written there and removed.
        size: Rows and columns at 10 m, a multiple of 6.
        workers: Worker processes of each extraction.
    """
    safe = full_size_product(source, cache, size)
    tile = full_size_tile(source, safe)
    runs = []
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for name, options in (
            ("native", []),
            ("sharpened", ["--sharpened", str(tile), "--no-native"]),
            ("native and sharpened", ["--sharpened", str(tile)]),
        ):
            log.info("extracting patches: %s", name)
            store = Path(scratch) / f"{name.replace(' ', '_')}.h5"
            runs.append(_cut(name, safe, store, [*options, "--workers", str(workers)]))
    return Report(size, workers, os.cpu_count() or 1, tuple(runs))


def full_size_tile(source: str, safe: Path) -> Path:
    """A sharpened tile of a full-size product: the sharpened source, mirrored. It is made once.

    Args:
        source: The product that was mirrored.
        safe: The full-size product, see `full_size_product`; the tile is kept next to it.
    """
    path = safe.parent / "sharpened.tif"
    if path.with_suffix(".json").exists():
        return path
    log.info("making a sharpened tile, which is kept in %s", safe.parent)
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


def _cut(name: str, safe: Path, store: Path, options: Sequence[str]) -> PatchRun:
    """Run `decametre patches extract` as users do.

    Raises:
        DecametreError: The command failed.
    """
    command = [sys.executable, "-m", "decametre", "-q", "patches", "extract", str(safe), str(store)]
    process = run_monitored([*command, *options])
    patches = len(PatchStore(store))
    files = [store, *store.with_suffix(".shards").glob("*.h5")]
    written = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return PatchRun(
        name, patches, process.seconds, process.cpu_seconds, process.peak_memory_gb, written / 1e9
    )
