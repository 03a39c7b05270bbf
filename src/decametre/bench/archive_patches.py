"""Patches without end of a few real pixels: crops, turned, and brightened or darkened.

They have the structure of images, so they are as hard to read, write and label as such, though
each differs from all others. A patch follows from its number alone: whoever makes it again, after a
kill or for a check, gets the same.
"""

from __future__ import annotations

import numpy as np

from decametre.bands import BAND_NAMES, FINEST_GSD
from decametre.errors import PatchError
from decametre.grid import Window
from decametre.io.opening import open_product
from decametre.io.raster import BandReader
from decametre.patches.nomenclature import Nomenclature
from decametre.patches.patch import LAYOUTS, NATIVE_KEYS, PATCH_METRES, SPLITS, Patch
from decametre.patches.placing import COARSEST, EDGE
from decametre.patches.spectral_rules import BANDS, CLASSES, classify

NOMENCLATURE = Nomenclature("spectral rules", tuple(CLASSES.values()))

STEP = COARSEST // FINEST_GSD
"""Pixels of 10 m in one of 60 m."""

SEED = 5
MOST = 2400
"""Rows and columns of the product, at 10 m, that crops are taken from."""

SHARE = 0.2
"""Of a patch that a class must cover."""

GAIN = (0.7, 1.4)
"""Of a patch's reflectance, at least and at most."""

BAND_GAIN = (0.95, 1.05)
"""Of a band's, in addition."""


class MadePatches:
    """Patches by their numbers.

    Args:
        source: The product whose pixels they are made of.

    Raises:
        DecametreError: It cannot be read, or is smaller than a patch.
    """

    def __init__(self, source: str) -> None:
        product = open_product(source)
        self.grid = product.grid
        # Patches begin on whole pixels of 60 m.
        self.rows, self.columns = (
            (min(side, MOST) - EDGE) // STEP + 1 for side in (self.grid.height, self.grid.width)
        )
        if min(self.rows, self.columns) < 1:
            raise PatchError(
                f"{source} is smaller than a patch; give one of {EDGE} x {EDGE} pixels"
            )
        width, height = ((steps - 1) * STEP + EDGE for steps in (self.columns, self.rows))
        window = Window(0, 0, width, height)
        with BandReader(product, BAND_NAMES) as reader:
            planes = {name: reader.read(name, window) for name in BAND_NAMES}
        self.images = {
            key: np.stack([planes[name] for name in LAYOUTS[key].bands]) for key in NATIVE_KEYS
        }
        self.offset = np.array(
            [product.bands[name].radiometry.offset_dn for name in BAND_NAMES], np.int32
        )
        self.products = f"{product.id}_made"

    def patch(self, number: int, product: int) -> Patch:
        """A patch.

        Args:
            number: Which.
            product: Number of the product that it is said to be cut from.
        """
        random = np.random.default_rng((SEED, number))
        row, column = int(random.integers(self.rows)), int(random.integers(self.columns))
        turn = int(random.integers(8))
        gains = random.uniform(*GAIN) * random.uniform(*BAND_GAIN, len(BAND_NAMES))
        data = {key: self._cut(key, row, column, turn, gains) for key in NATIVE_KEYS}
        return Patch(
            name=name_of(number),
            product=f"{self.products}_{product}",
            crs=str(self.grid.crs),
            origin=(self.grid.left + column * COARSEST, self.grid.top - row * COARSEST),
            split=SPLITS[(0, 0, 0, 0, 0, 0, 0, 0, 1, 2)[number % 10]],
            labels=self._labels(data),
            data=data,
            offset=self.offset,
        )

    def _cut(self, key: str, row: int, column: int, turn: int, gains: np.ndarray) -> np.ndarray:
        layout = LAYOUTS[key]
        factor, edge = COARSEST // layout.gsd, PATCH_METRES // layout.gsd
        top, left = row * factor, column * factor
        dn = self.images[key][:, top : top + edge, left : left + edge]
        order = [BAND_NAMES.index(name) for name in layout.bands]
        gain = gains[order].astype(np.float32)[:, None, None]
        added = self.offset[order].astype(np.float32)[:, None, None]
        changed = np.rint((dn + added) * gain - added).clip(1, 65534).astype(np.uint16)
        changed = np.where(dn == 0, np.uint16(0), changed)
        if turn >= 4:
            changed = changed[:, :, ::-1]
        return np.ascontiguousarray(np.rot90(changed, turn, (1, 2)))

    def _labels(self, data: dict[str, np.ndarray]) -> tuple[str, ...]:
        """By the spectral rules, of pixels of 10 m."""
        reflectance, measured = {}, np.ones((EDGE, EDGE), bool)
        for name in BANDS:
            key = next(key for key in NATIVE_KEYS if name in LAYOUTS[key].bands)
            layout = LAYOUTS[key]
            dn = data[key][layout.bands.index(name)]
            fine = dn.repeat(EDGE // len(dn), axis=0).repeat(EDGE // len(dn), axis=1)
            added = np.float32(self.offset[BAND_NAMES.index(name)])
            reflectance[name] = (fine + added) / np.float32(10_000)
            measured &= fine != 0
        codes = classify(reflectance)[measured]
        least = SHARE * max(1, codes.size)
        return tuple(name for code, name in CLASSES.items() if (codes == code).sum() >= least)


def name_of(number: int) -> str:
    """Name of a made patch."""
    return f"made_{number:07d}"
