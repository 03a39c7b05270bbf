"""How fast land cover is mapped over a whole tile, and in how much memory.

The tile is made by mirroring a real crop; the network has random weights, which take as long as
trained ones. Everything is measured in one run on one machine.
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
"""That the network alone classifies."""

NATIVE = {gsd: bands_at(gsd) for gsd in (10, 20, 60)}
SHARPENED = {10: BAND_NAMES}


WAYS = ("measured", "tile", "on-the-way")
"""What `predict` sees: bands as measured, those of a sharpened tile, or sharpened on the way."""


@dataclass(frozen=True)
class Classified:
    """Patches classified.

    Attributes:
        how: By the network alone, or by `decametre landcover predict` as a process of its own; and
            what the network saw.
        patches: How many.
        seconds: From start to end, the start of Python included.
        processor_seconds: See `run_monitored`.
        peak_memory_gb: See `run_monitored`; 0 for the network alone.
    """

    how: str
    patches: int
    seconds: float
    processor_seconds: float
    peak_memory_gb: float = 0.0

    @property
    def rate(self) -> float:
        """Patches a second."""
        return self.patches / self.seconds


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        backbone: Of the network, by timm's name.
        size: Rows and columns of the tile at 10 m.
        device: Where the network ran.
        threads: Of torch.
        cores: Of the machine.
        runs: The network alone, and the whole of `predict`.
    """

    backbone: str
    size: int
    device: str
    threads: int
    cores: int
    runs: tuple[Classified, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for run, entry in zip(self.runs, found["runs"], strict=True):
            entry["patches_per_second"] = run.rate
        return found

    def table(self) -> str:
        """For the terminal, in Markdown."""
        head = (
            f"| {self.backbone}, {self.size} x {self.size} pixels, {self.device} with "
            f"{self.threads} of {self.cores} threads | patches | time | processor time | "
            "patches/s | peak memory |"
        )
        rows = [
            f"| {run.how} | {run.patches} | {run.seconds:.1f} s | {run.processor_seconds:.1f} s | "
            f"{run.rate:.1f} | {f'{run.peak_memory_gb:.2f} GB' if run.peak_memory_gb else ''} |"
            for run in self.runs
        ]
        return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def run(
    source: str,
    cache: Path,
    size: int = FULL_SIZE,
    backbone: str = "resnet50",
    ways: Sequence[str] = WAYS,
) -> Report:
    """Measure.

    Args:
        source: A product whose pixels are mirrored to fill the tile.
        cache: Where the made product and tile are kept for the next time (3 GB at full size).
        size: Rows and columns at 10 m, a multiple of 6.
        backbone: Of the network, by timm's name.
        ways: Those of `WAYS` that are measured.

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
        for way in ways:
            log.info("predict: %s", way)
            if way == "measured":
                model, options = native, list[str]()
            elif way == "tile":
                model, options = sharpened, ["--sharpened", str(full_size_tile(source, safe))]
            else:
                model, options = sharpened, ["--sharpen-with", DEFAULT_FAMILY]
            folder = Path(scratch) / model.card.name
            runs.append(_mapped(f"`predict`, {way}", safe, folder, options))
    return Report(
        backbone,
        size,
        str(device),
        torch.get_num_threads(),
        os.cpu_count() or 1,
        tuple(runs),
    )


def _model(backbone: str, bands_in: Mapping[int, tuple[str, ...]]) -> LandCoverModel:
    """One of random weights."""
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


def _alone(how: str, model: LandCoverModel, device: torch.device) -> Classified:
    """From DN in memory to probabilities in memory."""
    network = model.network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = np.random.default_rng(0)
    dn, offset = {}, {}
    for gsd, names in model.card.bands_in.items():
        edge = PATCH_METRES // gsd
        dn[gsd] = random.integers(1, 10_000, (BATCH, len(names), edge, edge), np.uint16)
        offset[gsd] = np.zeros((BATCH, len(names)), np.float32)
    probabilities(network, dn, offset, device)  # the first takes memory
    before = time.process_time()
    seconds = timed(lambda: [probabilities(network, dn, offset, device) for _ in range(BATCHES)])
    return Classified(how, BATCHES * BATCH, seconds, time.process_time() - before)


def _mapped(how: str, safe: Path, model: Path, options: Sequence[str]) -> Classified:
    """`decametre landcover predict` as users run it; the map is removed."""
    with tempfile.TemporaryDirectory(dir=model) as scratch:
        output = Path(scratch) / "map.tif"
        command = [sys.executable, "-m", "decametre", "-q", "landcover", "predict"]
        command += [str(safe), str(output), "--model", str(model), *options]
        process = run_monitored(command)
        item = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    patches = int(item["properties"]["decametre:land_cover"]["patches"])
    return Classified(
        how, patches, process.seconds, process.processor_seconds, process.peak_memory_gb
    )
