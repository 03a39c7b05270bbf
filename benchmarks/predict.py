"""How fast the land cover of a full tile is mapped, and how much memory that takes.

The tile is synthetic: a real crop mirrored to full size. The network has random weights, which take
as long as trained ones. Everything is measured in one run on one machine.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.patch_run import PatchRun
from benchmarks.patches import full_size_tile
from benchmarks.process_monitor import run_monitored
from decametre.bench.sharpen import full_size_product, timed
from decametre.device import choose_devices
from decametre.landcover.models.card import (
    LandCoverCard,
    LandCoverModel,
    build_land_cover,
    save_land_cover,
)
from decametre.landcover.models.classifier import BATCH, probabilities
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.options import FULL_SIZE
from decametre.sentinel2.bands import BAND_NAMES, bands_at
from decametre.superres.models.registry import DEFAULT_FAMILY

log = logging.getLogger(__name__)

BATCHES = 10
"""Number of batches that the network alone classifies."""

NATIVE = {gsd: bands_at(gsd) for gsd in (10, 20, 60)}
SHARPENED = {10: BAND_NAMES}

INPUTS = ("measured", "tile", "on-the-way")
"""Inputs of `predict`: bands as measured, bands of a sharpened tile, or bands that `predict`
sharpens itself."""


@dataclass(frozen=True)
class Report:
    """The results of the benchmark.

    Attributes:
        backbone: timm's name of the network's backbone.
        size: Rows and columns of the tile at 10 m.
        device: Device of the network.
        threads: Threads of torch.
        cores: CPU cores of the machine.
        runs: The network alone, and the complete command `landcover predict`.
    """

    backbone: str
    size: int
    device: str
    threads: int
    cores: int
    runs: tuple[PatchRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON."""
        return asdict(self) | {"runs": [run.to_dict() for run in self.runs]}

    def table(self) -> str:
        """The results as Markdown."""
        head = (
            f"| {self.backbone}, {self.size} x {self.size} pixels, {self.device} with "
            f"{self.threads} of {self.cores} threads | patches | time | CPU time | "
            "patches/s | peak memory |"
        )
        rows = [
            f"| {run.name} | {run.patches} | {run.seconds:.1f} s | {run.cpu_seconds:.1f} s | "
            f"{run.rate:.1f} | {f'{run.peak_memory_gb:.2f} GB' if run.peak_memory_gb else ''} |"
            for run in self.runs
        ]
        return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def run(
    source: str,
    cache: Path,
    size: int = FULL_SIZE,
    backbone: str = "resnet50",
    inputs: Sequence[str] = INPUTS,
) -> Report:
    """Run the benchmark.

    Args:
        source: A product whose pixels are mirrored to fill the tile.
        cache: Folder in which the synthetic product and tile are kept for the next run (3 GB at
            full size).
        size: Rows and columns at 10 m, a multiple of 6.
        backbone: timm's name of the network's backbone.
        inputs: Which of `INPUTS` to measure.

    Raises:
        DecametreError: The product cannot be used, timm has no such backbone, or `predict` failed.
    """
    safe = full_size_product(source, cache, size)
    device = choose_devices("auto")[0]
    native, sharpened = (_model(backbone, bands_in) for bands_in in (NATIVE, SHARPENED))
    log.info("the network alone")
    runs = [
        _alone("network alone, bands as measured", native, device),
        _alone("network alone, 12 bands at 10 m", sharpened, device),
    ]
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for model in (native, sharpened):
            save_land_cover(Path(scratch) / model.card.name, model.card, model.network)
        for name in inputs:
            log.info("predict: %s", name)
            if name == "measured":
                model, options = native, list[str]()
            elif name == "tile":
                model, options = sharpened, ["--sharpened", str(full_size_tile(source, safe))]
            else:
                model, options = sharpened, ["--sharpen-with", DEFAULT_FAMILY]
            folder = Path(scratch) / model.card.name
            runs.append(_mapped(f"`predict`, {name}", safe, folder, options))
    return Report(
        backbone,
        size,
        str(device),
        torch.get_num_threads(),
        os.cpu_count() or 1,
        tuple(runs),
    )


def _model(backbone: str, bands_in: Mapping[int, tuple[str, ...]]) -> LandCoverModel:
    """A model with random weights."""
    sharpened = bands_in == SHARPENED
    card = LandCoverCard(
        name="sharpened" if sharpened else "native",
        architecture=backbone,
        config={},
        norm="merged",
        bands_in=bands_in,
        sharpened=sharpened,
        nomenclature=BIGEARTHNET19.name,
        classes=BIGEARTHNET19.classes,
    )
    torch.manual_seed(0)
    return LandCoverModel(card, build_land_cover(card))


def _alone(name: str, model: LandCoverModel, device: torch.device) -> PatchRun:
    """Measure the network alone, from DN in memory to probabilities in memory."""
    network = model.network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = np.random.default_rng(0)
    dn, offset = {}, {}
    for gsd, names in model.card.bands_in.items():
        edge = PATCH_METRES // gsd
        dn[gsd] = random.integers(1, 10_000, (BATCH, len(names), edge, edge), np.uint16)
        offset[gsd] = np.zeros((BATCH, len(names)), np.float32)
    probabilities(network, dn, offset, device)  # the first batch also allocates memory
    before = time.process_time()
    seconds = timed(lambda: [probabilities(network, dn, offset, device) for _ in range(BATCHES)])
    return PatchRun(name, BATCHES * BATCH, seconds, time.process_time() - before)


def _mapped(name: str, safe: Path, model: Path, options: Sequence[str]) -> PatchRun:
    """Run `decametre landcover predict` as users do, and remove the map."""
    with tempfile.TemporaryDirectory(dir=model) as scratch:
        output = Path(scratch) / "map.tif"
        command = [sys.executable, "-m", "decametre", "-q", "landcover", "predict"]
        command += [str(safe), str(output), "--model", str(model), *options]
        process = run_monitored(command)
        item = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    patches = int(item["properties"]["decametre:land_cover"]["patches"])
    return PatchRun(name, patches, process.seconds, process.cpu_seconds, process.peak_memory_gb)
