"""How fast stores of patches are read at random: HDF5 as here, as h5py does it, and LMDB.

The same made patches stand in a store, in a store merged of shards, and in an LMDB of safetensors
as rico-hdl writes it. One process reads the same random batches from each, in turn, several times
over. All fits into the page cache, so this is the cost of the format, not of the disk; and the
processor's time is taken, so other programs slow it little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
from safetensors.numpy import load, save

from decametre.bands import BAND_NAMES
from decametre.patches.file_format import Header
from decametre.patches.merge import merge_patches
from decametre.patches.nomenclature import BIGEARTHNET19
from decametre.patches.patch import LAYOUTS, NATIVE_KEYS, Patch
from decametre.patches.store import PatchStore, PatchWriter

ROUNDS = 3
"""How often each way of reading is timed; the fastest counts, the others met other programs."""

SHARDS = 4
MADE_BATCH = 128

Images = dict[str, np.ndarray]
Read = Callable[[np.ndarray], Images]


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        patches: Patches in each store.
        batch: Patches read at once.
        batches: Batches that were timed.
        megabytes: Of one patch.
        rates: Patches a second of one core, by way of reading.
    """

    patches: int
    batch: int
    batches: int
    megabytes: float
    rates: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> str:
        """For the terminal, in Markdown."""
        head = (
            f"| random batches of {self.batch} of {self.patches:,} patches, one core | patches/s | "
            "MB/s |"
        )
        rows = [
            f"| {name} | {rate:,.0f} | {rate * self.megabytes:,.0f} |"
            for name, rate in self.rates.items()
        ]
        return "\n".join([head, "|---|---|---|", *rows])


def run(folder: Path, patches: int, batch: int, batches: int) -> Report:
    """Make stores and time how they are read.

    Args:
        folder: Where to make them; 0.5 MB a patch in all.
        patches: How many each is to hold; at least 4.
        batch: Patches read at once.
        batches: How many to read in a round.
    """
    ways = _ways(folder, patches)
    random = np.random.default_rng(0)
    orders = [random.integers(0, patches, batch) for _ in range(batches)]
    _compare([read(orders[0]) for read in ways.values()])
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, read in ways.items():
            start = time.process_time()
            for order in orders:
                read(order)
            seconds[name] = min(seconds[name], time.process_time() - start)
    size = sum(2 * int(np.prod(LAYOUTS[key].shape)) for key in NATIVE_KEYS) / 1e6
    rates = {name: batch * batches / taken for name, taken in seconds.items()}
    return Report(patches, batch, batches, size, rates)


def _ways(folder: Path, patches: int) -> dict[str, Read]:
    """Make the stores; the ways to read them."""
    bounds = np.linspace(0, patches, SHARDS + 1).astype(int)
    shards = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        shards.append(folder / f"shard_{number}.h5")
        with PatchWriter(shards[-1], Header(BIGEARTHNET19, NATIVE_KEYS), stop - start) as writer:
            for begin in range(start, stop, MADE_BATCH):
                writer.append([_made(at) for at in range(begin, min(begin + MADE_BATCH, stop))])
    merge_patches(shards, folder / "merged.h5")
    merge_patches(shards, folder / "plain.h5", consolidate=True)
    database = lmdb.open(str(folder / "lmdb"), map_size=patches * 400_000 + (1 << 24))
    with database.begin(write=True) as view:
        for at in range(patches):
            images = _made(at).data
            by_band = {
                name: images[key][place]
                for key in NATIVE_KEYS
                for place, name in enumerate(LAYOUTS[key].bands)
            }
            view.put(f"{at}".encode(), save({name: by_band[name] for name in BAND_NAMES}))
    plain, merged = PatchStore(folder / "plain.h5"), PatchStore(folder / "merged.h5")
    file = h5py.File(folder / "plain.h5", locking=False)

    def by_h5py(order: np.ndarray) -> Images:
        return {key: np.stack([file[key][place] for place in order]) for key in NATIVE_KEYS}

    def by_lmdb(order: np.ndarray) -> Images:
        found = {key: np.empty((len(order), *LAYOUTS[key].shape), np.uint16) for key in NATIVE_KEYS}
        with database.begin() as view:
            for row, at in enumerate(order):
                images = load(view.get(f"{at}".encode(), b""))
                for key in NATIVE_KEYS:
                    for place, name in enumerate(LAYOUTS[key].bands):
                        found[key][row, place] = images[name]
        return found

    return {
        "HDF5, `PatchStore`": lambda order: plain.read(order.tolist(), NATIVE_KEYS),
        f"HDF5, `PatchStore`, merged of {SHARDS} shards": (
            lambda order: merged.read(order.tolist(), NATIVE_KEYS)
        ),
        "HDF5, `h5py`, a patch at a time": by_h5py,
        "LMDB of safetensors": by_lmdb,
    }


def _made(number: int) -> Patch:
    random = np.random.default_rng(number)
    return Patch(
        name=f"made_{number}",
        product="",
        crs="EPSG:32632",
        origin=(0.0, 0.0),
        split="",
        labels=BIGEARTHNET19.classes[number % 19 : number % 19 + 1],
        data={
            key: random.integers(1, 10_000, LAYOUTS[key].shape, np.uint16) for key in NATIVE_KEYS
        },
        offset=np.zeros(len(BAND_NAMES), np.int32),
    )


def _compare(results: list[Images]) -> None:
    for other in results[1:]:
        for key in NATIVE_KEYS:
            np.testing.assert_array_equal(other[key], results[0][key])
