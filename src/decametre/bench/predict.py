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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decametre.bands import BAND_NAMES, bands_at
from decametre.bench.patches import full_size_tile
from decametre.bench.sharpen import FULL_SIZE, full_size_product, timed
from decametre.bench.watched import watched
from decametre.inference.device import choose_devices
from decametre.inference.land_cover import AT_ONCE, probabilities
from decametre.models.land_cover_model import (
    LandCoverCard,
    LandCoverModel,
    build_land_cover,
    save_land_cover,
)
from decametre.models.registry import DEFAULT_FAMILY
from decametre.patches.nomenclature import BIGEARTHNET19
from decametre.patches.patch import PATCH_METRES

log = logging.getLogger(__name__)

ROUNDS = 5
"""How often the network alone is timed; the median counts."""

NATIVE = {gsd: bands_at(gsd) for gsd in (10, 20, 60)}
SHARPENED = {10: BAND_NAMES}


@dataclass(frozen=True)
class Mapped:
    """One `decametre landcover predict`, as a process of its own.

    Attributes:
        images: What the network saw.
        patches: How many were classified.
        seconds: From start to end, the start of Python included.
        peak_memory_gb: See `watched`.
    """

    images: str
    patches: int
    seconds: float
    peak_memory_gb: float

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
        alone: Patches a second of the network alone, by what it sees; pixels in memory.
        maps: The whole of `predict`.
    """

    backbone: str
    size: int
    device: str
    threads: int
    cores: int
    alone: Mapping[str, float]
    maps: tuple[Mapped, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for mapped, entry in zip(self.maps, found["maps"], strict=True):
            entry["patches_per_second"] = mapped.rate
        return found

    def table(self) -> str:
        """For the terminal, in Markdown."""
        head = (
            f"| {self.backbone}, {self.size} x {self.size} pixels, {self.device} with "
            f"{self.threads} threads of {self.cores} cores | patches | time | patches/s | "
            "peak memory |"
        )
        rows = [
            f"| the network alone, {images} | | | {rate:.1f} | |"
            for images, rate in self.alone.items()
        ]
        rows += [
            f"| `predict`, {m.images} | {m.patches} | {m.seconds:.0f} s | {m.rate:.1f} | "
            f"{m.peak_memory_gb:.2f} GB |"
            for m in self.maps
        ]
        return "\n".join([head, "|---|---|---|---|---|", *rows])


def run(source: str, cache: Path, size: int = FULL_SIZE, backbone: str = "resnet50") -> Report:
    """Measure.

    Args:
        source: A product whose pixels are mirrored to fill the tile.
        cache: Where the made product and tile are kept for the next time (3 GB at full size).
        size: Rows and columns at 10 m, a multiple of 6.
        backbone: Of the network, by timm's name.

    Raises:
        DecametreError: The product cannot be used, timm has no such backbone, or `predict` failed.
    """
    safe = full_size_product(source, cache, size)
    tile = full_size_tile(source, safe)
    device = choose_devices("auto")[0]
    native, sharpened = (_model(backbone, bands_in) for bands_in in (NATIVE, SHARPENED))
    log.info("the network alone")
    alone = {
        "bands as measured": _alone(native, device),
        "12 bands at 10 m": _alone(sharpened, device),
    }
    maps = []
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for model in (native, sharpened):
            save_land_cover(Path(scratch) / model.card.name, model.card, model.network)
        for name, model, options in (
            ("bands as measured", native, []),
            ("a sharpened tile", sharpened, ["--sharpened", str(tile)]),
            ("sharpened on the way", sharpened, ["--sharpen-with", DEFAULT_FAMILY]),
        ):
            log.info("predict: %s", name)
            maps.append(_mapped(name, safe, Path(scratch) / model.card.name, options))
    return Report(
        backbone,
        size,
        str(device),
        torch.get_num_threads(),
        os.cpu_count() or 1,
        alone,
        tuple(maps),
    )


def _model(backbone: str, bands_in: Mapping[int, tuple[str, ...]]) -> LandCoverModel:
    """One of random weights."""
    sharpened = bands_in == SHARPENED
    card = LandCoverCard(
        name="sharpened" if sharpened else "native",
        backbone=backbone,
        config={},
        norm="merged",
        bands_in=bands_in,
        sharpened=sharpened,
        nomenclature=BIGEARTHNET19.name,
        classes=BIGEARTHNET19.classes,
    )
    torch.manual_seed(0)
    return LandCoverModel(card, build_land_cover(card))


def _alone(model: LandCoverModel, device: torch.device) -> float:
    """Patches a second of a network, from DN in memory to probabilities in memory."""
    network = model.network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = np.random.default_rng(0)
    dn, offset = {}, {}
    for gsd, names in model.card.bands_in.items():
        edge = PATCH_METRES // gsd
        dn[gsd] = random.integers(1, 10_000, (AT_ONCE, len(names), edge, edge), np.uint16)
        offset[gsd] = np.zeros((AT_ONCE, len(names)), np.float32)
    seconds = [timed(lambda: probabilities(network, dn, offset, device)) for _ in range(ROUNDS + 1)]
    return AT_ONCE / float(np.median(seconds[1:]))


def _mapped(images: str, safe: Path, model: Path, options: Sequence[str]) -> Mapped:
    """`decametre landcover predict` as users run it; the map is removed."""
    with tempfile.TemporaryDirectory(dir=model) as scratch:
        output = Path(scratch) / "map.tif"
        command = [sys.executable, "-m", "decametre", "-q", "landcover", "predict"]
        command += [str(safe), str(output), "--model", str(model), *options]
        process = watched(command)
        item = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    patches = int(item["properties"]["decametre:land_cover"]["patches"])
    return Mapped(images, patches, process.seconds, process.peak_memory_gb)
