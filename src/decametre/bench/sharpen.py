"""Time of a full tile, stage by stage, compared with that of a published network.

Everything is measured in one run on one machine, because results of different machines cannot be
compared.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from decametre.bench.report_files import markdown_table
from decametre.bench.synthetic_safe import make_safe
from decametre.device import choose_devices, choose_precision, precision_name
from decametre.errors import DecametreError
from decametre.options import DEFAULT_TILE, FULL_SIZE
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES, FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader, StripReader
from decametre.sentinel2.tiling import split
from decametre.superres.models.card import Card
from decametre.superres.models.dsen2 import DSen2
from decametre.superres.models.registry import BANDS_FOR_SCALE, Model, build, models_for
from decametre.superres.pixels.stack import read_stack
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.image_writer import CogWriter
from decametre.superres.sharpening.sharpener import SharpenedWindow, Sharpener

log = logging.getLogger(__name__)

PEER_EDGE = 690
"""Edge in 10 m pixels of the window on which the networks are compared."""

PAIRS = 3
"""How often each network is timed; the networks alternate."""


@dataclass(frozen=True)
class SharpenReport:
    """Times in seconds, scaled to the complete product if only a part was timed.

    Attributes:
        size: Rows and columns of the product at 10 m.
        threads: Threads of torch and of GDAL.
        device: Device of the networks.
        precision: Precision of the shipped networks.
        tile: Edge of a core window in 10 m pixels.
        whole: `decametre sharpen` as a separate process, from start to end.
        peak_memory_gb: Its largest resident memory, in 1e9 bytes.
        decode: Reading and filling all windows with their margins, alone.
        encode: Writing the scratch file and the COG, alone.
        compute: The shipped networks on one window, times the number of windows.
        whole_over_io: whole / (decode + encode).
        peer_over_compute: Two networks of the size of DSen2 (one for the 20 m, one for the 60 m
            bands) in float32, over the shipped networks in the chosen precision, on the same
            window, alternating.
        peer_over_compute_float32: The same with the shipped networks in float32.
        one_peer_over_compute: One network of the size of DSen2 in float32, over both shipped ones.
    """

    size: int
    threads: int
    device: str
    precision: str
    tile: int
    whole: float
    peak_memory_gb: float
    decode: float
    encode: float
    compute: float
    whole_over_io: float
    peer_over_compute: float
    peer_over_compute_float32: float
    one_peer_over_compute: float

    def to_dict(self) -> dict[str, float | str]:
        """The report as plain values, for JSON."""
        return asdict(self)

    def table(self) -> str:
        """The report as a table in Markdown."""
        rows = [
            ("decoding alone", f"{self.decode:.0f} s"),
            ("computing alone", f"{self.compute:.0f} s"),
            ("encoding alone", f"{self.encode:.0f} s"),
            ("**complete**, as one process", f"**{self.whole:.0f} s**"),
            ("peak resident memory", f"{self.peak_memory_gb:.2f} GB"),
            ("complete / (decoding + encoding)", f"{self.whole_over_io:.2f}"),
            ("two networks of DSen2's size in float32 / compute", f"{self.peer_over_compute:.1f}"),
            ("the same, all in float32", f"{self.peer_over_compute_float32:.1f}"),
            (
                "one network of DSen2's size in float32 / compute",
                f"{self.one_peer_over_compute:.1f}",
            ),
        ]
        head = (
            f"{self.size} x {self.size} pixels, 12 bands, {self.device} with {self.threads} "
            f"threads, {self.precision}, tiles of {self.tile}"
        )
        return "\n".join(markdown_table((head, ""), rows))


def run(source: str, cache: Path, size: int = FULL_SIZE, tile: int = DEFAULT_TILE) -> SharpenReport:
    """Time all stages of sharpening a full tile.

    Args:
        source: Product whose pixels are mirrored to fill the tile.
        cache: Folder in which the full tile is kept for later runs (about 1 GB at full size).
        size: Rows and columns at 10 m, a multiple of 6.
        tile: Edge of a core window in 10 m pixels.
    """
    product = open_product(str(full_size_product(source, cache, size)))
    device = choose_devices("auto")[0]
    precision = choose_precision("auto", device)
    models, _ = adapt_models(models_for(BAND_NAMES), product)
    sharpener = Sharpener(models, BAND_NAMES, device, precision)
    cores = split(product.grid.window, tile, sharpener.step)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        log.info("the complete product, as a separate process")
        whole, memory = whole_run(product, Path(folder) / "whole.tif", tile)
        log.info("decoding alone")
        decode = timed(lambda: decode_all(product, sharpener, cores))
        log.info("computing alone: one window of %d", len(cores))
        piece, compute = compute_one(product, sharpener, cores[len(cores) // 2], len(cores))
        log.info("encoding alone")
        encode = timed(lambda: encode_all(product, piece, cores, Path(folder) / "encode.tif"))
    log.info("the shipped networks and those of DSen2's size, alternating")
    ours, ours_float32, peer_2x, peer_6x = compare(product, device, precision)
    return SharpenReport(
        size=size,
        threads=torch.get_num_threads(),
        device=str(device),
        precision=precision_name(precision),
        tile=tile,
        whole=whole,
        peak_memory_gb=memory / 1e9,
        decode=decode,
        encode=encode,
        compute=compute,
        whole_over_io=whole / (decode + encode),
        peer_over_compute=(peer_2x + peer_6x) / ours,
        peer_over_compute_float32=(peer_2x + peer_6x) / ours_float32,
        one_peer_over_compute=peer_2x / ours,
    )


def full_size_product(source: str, cache: Path, size: int) -> Path:
    """A SAFE product of full size, created once from a smaller product by mirroring.

    Args:
        source: The smaller product.
        cache: Folder in which the result is kept.
        size: Rows and columns at 10 m.
    """
    small = open_product(source)
    folder = cache / f"{small.id}_{size}"
    for existing in folder.glob("*.SAFE"):
        return existing
    log.info("creating a product of %d x %d pixels (once; kept in %s)", size, size, folder)
    bands = {}
    with BandReader(small, BAND_NAMES) as reader:
        for name in BAND_NAMES:
            bands[name] = reader.read(name, small.grid.window)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        mirrored = MirroredBands(bands, size)
        safe = make_safe(Path(unfinished), mirrored, level="L1C", baseline="05.10", offset_dn=-1000)
        folder.mkdir(exist_ok=True)
        return safe.rename(folder / safe.name)


class MirroredBands(Mapping[str, np.ndarray]):
    """Bands that are mirrored to a full tile one at a time, because all would take 1.3 GB."""

    def __init__(self, bands: Mapping[str, np.ndarray], size: int) -> None:
        self.bands, self.size = bands, size

    def __getitem__(self, name: str) -> np.ndarray:
        edge = self.size * FINEST_GSD // ALL_BANDS[name].gsd
        image = self.bands[name]
        return np.pad(image, [(0, edge - side) for side in image.shape], mode="symmetric")

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.bands)

    def __len__(self) -> int:
        return len(self.bands)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def whole_run(product: Product, output: Path, tile: int) -> tuple[float, int]:
    """Run `decametre sharpen` as a process: seconds, and largest resident memory in bytes.

    Raises:
        DecametreError: The process failed.
    """
    command = [sys.executable, "-m", "decametre", "sharpen", product.source, str(output)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--tile", str(tile)])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise DecametreError(
            f"decametre sharpen failed with status {os.waitstatus_to_exitcode(status)}"
        )
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def decode_all(product: Product, sharpener: Sharpener, cores: list[Window]) -> None:
    """Read every window with its margin, as the job does."""
    with BandReader(product, sharpener.inputs) as bands:
        reader = StripReader(bands, product.grid.window)
        for core in cores:
            window = core.padded(sharpener.halo)
            read_stack(reader, product, sharpener.inputs, window, sharpener.reach)


def compute_one(
    product: Product, sharpener: Sharpener, core: Window, count: int
) -> tuple[SharpenedWindow, float]:
    """The result of one core window, and the seconds of `count` of them: median of three runs."""
    window = core.padded(sharpener.halo)
    radiometry = {name: file.radiometry for name, file in product.bands.items()}
    with BandReader(product, sharpener.inputs) as reader:
        stack = read_stack(reader, product, sharpener.inputs, window, sharpener.reach)
    piece = sharpener(stack, window, core, radiometry)
    seconds = [timed(lambda: sharpener(stack, window, core, radiometry)) for _ in range(3)]
    return piece, sorted(seconds)[1] * count


def encode_all(product: Product, piece: SharpenedWindow, cores: list[Window], path: Path) -> None:
    """Write the result of one core window at the position of each, and create the COG."""
    radiometry = {name: product.bands[name].radiometry for name in BAND_NAMES}
    with CogWriter(path, product.grid, radiometry) as writer:
        for core in cores:
            part = Window(0, 0, core.width, core.height).intersection(
                Window(0, 0, piece.core.width, piece.core.height)
            )
            images = {name: image[part.slices] for name, image in piece.dn.items()}
            writer.write(Window(core.col, core.row, part.width, part.height), images)
        writer.finish({})


def compare(
    product: Product, device: torch.device, precision: torch.dtype
) -> tuple[float, float, float, float]:
    """Median seconds on one window: shipped networks, in float32, DSen2's size at 2x and 6x."""
    core = Window(0, 0, PEER_EDGE, PEER_EDGE)
    models, _ = adapt_models(models_for(BAND_NAMES), product)
    networks = [
        Sharpener(models, BAND_NAMES, device, precision),
        Sharpener(models, BAND_NAMES, device, torch.float32),
        *(Sharpener([peer(scale)], BAND_NAMES, device, torch.float32) for scale in (2, 6)),
    ]
    inputs = networks[0].inputs
    window = core.padded(max(network.halo for network in networks))
    radiometry = {name: file.radiometry for name, file in product.bands.items()}
    with BandReader(product, inputs) as reader:
        stack = read_stack(reader, product, inputs, window, 0)
    runs = [
        [timed(lambda n=n: n(stack, window, core, radiometry)) for n in networks]  # type: ignore[misc]
        for _ in range(PAIRS + 1)
    ]
    ours, ours_float32, peer_2x, peer_6x = np.median(np.array(runs[1:]), axis=0)
    return float(ours), float(ours_float32), float(peer_2x), float(peer_6x)


def peer(scale: int) -> Model:
    """A network of the size of DSen2 (1.79 million weights), with random weights."""
    bands_in = BANDS_FOR_SCALE[scale]
    margin = DSen2({gsd: len(names) for gsd, names in bands_in.items()}).margin
    card = Card(f"dsen2_{scale}x", "dsen2", {}, bands_in, margin, attribution="")
    return Model(card, build(card).eval())
