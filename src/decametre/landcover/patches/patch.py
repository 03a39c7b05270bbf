"""A patch: a square of 1200 m with labels, its bands on native grids, sharpened, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from decametre.errors import PatchError
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD, bands_at

PATCH_METRES = 1200
"""Edge of a patch on the ground."""

PATCH_PIXELS = PATCH_METRES // FINEST_GSD
"""Edge of a patch in 10 m pixels."""

POSITION_STEP = 60
"""Metres: patches begin on pixels of the 60 m grid, which are whole pixels in every band."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageLayout:
    """Bands and pixel size of one image of a patch.

    Attributes:
        bands: Band names, in the order of the planes.
        gsd: Pixel size in metres.
    """

    bands: tuple[str, ...]
    gsd: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        return len(self.bands), PATCH_METRES // self.gsd, PATCH_METRES // self.gsd


LAYOUTS = {
    **{f"data_{gsd}m": ImageLayout(bands_at(gsd), gsd) for gsd in (10, 20, 60)},
    "data_super": ImageLayout(BAND_NAMES, FINEST_GSD),
}
"""The images that a patch may have, by key."""

NATIVE_KEYS = ("data_10m", "data_20m", "data_60m")


@dataclass(frozen=True, eq=False)
class Patch:
    """A square of ground with its pixels and labels.

    Attributes:
        name: Unique in a store.
        product: Id of the product that it was cut from.
        crs: Such as `EPSG:32633`.
        origin: x and y of the upper left corner in metres.
        split: `train`, `validation`, `test`, or empty for none.
        labels: Class names.
        data: uint16 DN, (bands, rows, columns) as in `LAYOUTS`; 0 is nodata. All native images, or
            `data_super`, or all four.
        offset: int32, (12,): radiometric offset in DN of each of `BAND_NAMES`. Reflectance is
            (DN + offset) / 10000.
        country: Country of the patch; empty if unknown.

    Raises:
        PatchError: An image has another shape or type, or keys are missing.
    """

    name: str
    product: str
    crs: str
    origin: tuple[float, float]
    split: str
    labels: tuple[str, ...]
    data: Mapping[str, np.ndarray] = field(repr=False)
    offset: np.ndarray
    country: str = ""

    def __post_init__(self) -> None:
        check_keys(self.name, tuple(self.data))
        for key, image in self.data.items():
            if image.shape != LAYOUTS[key].shape or image.dtype != np.uint16:
                raise PatchError(
                    f"patch {self.name}: {key} is {image.dtype} of shape {image.shape}, expected "
                    f"uint16 of shape {LAYOUTS[key].shape}"
                )
        if self.offset.shape != (len(BAND_NAMES),):
            raise PatchError(
                f"patch {self.name}: {self.offset.shape} offsets, expected {len(BAND_NAMES)}"
            )
        if self.split and self.split not in SPLITS:
            raise PatchError(
                f"patch {self.name}: split '{self.split}' is not one of {', '.join(SPLITS)}"
            )


def check_keys(what: str, keys: tuple[str, ...]) -> None:
    """Make sure that a patch has all native images, the sharpened one, or all four.

    Args:
        what: The patch or file, for the message.
        keys: Keys of its images.

    Raises:
        PatchError: It has another set of images.
    """
    if set(keys) not in ({*NATIVE_KEYS}, {"data_super"}, {*LAYOUTS}):
        raise PatchError(
            f"{what}: images {', '.join(sorted(keys)) or 'none'}; expected "
            f"{', '.join(NATIVE_KEYS)}, or data_super, or all of them"
        )
