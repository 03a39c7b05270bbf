"""What a patch is: 1200 m of ground with its labels, on native grids, sharpened, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from decametre.errors import PatchError
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD, bands_at

PATCH_METRES = 1200
"""Edge of a patch on the ground."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageLayout:
    """What one image of a patch holds.

    Attributes:
        bands: The order of its bands.
        gsd: Size of its pixels in metres.
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
    """A square of ground with labels.

    Attributes:
        name: Unlike that of all others.
        product: Id of the product that it was cut from.
        crs: Such as `EPSG:32633`.
        origin: x and y of the upper left corner in metres.
        split: `train`, `validation`, `test`, or empty where it has none.
        labels: Names of its classes.
        data: uint16 DN, (bands, rows, columns) as in `LAYOUTS`; 0 is nodata. All native images, or
            `data_super`, or all four.
        offset: int32, (12,): DN to add, a band, in the order of `BAND_NAMES`. Reflectance is
            (DN + offset) / 10000.
        country: Where the patch is; empty where not known.

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
                f"patch {self.name}: split '{self.split}' is none of {', '.join(SPLITS)}"
            )


def check_keys(what: str, keys: tuple[str, ...]) -> None:
    """Make sure that images make a patch: all native ones, or the sharpened one, or all.

    Args:
        what: The patch or file, for the message.
        keys: Of its images.

    Raises:
        PatchError: They do not.
    """
    if set(keys) not in ({*NATIVE_KEYS}, {"data_super"}, {*LAYOUTS}):
        raise PatchError(
            f"{what}: images {', '.join(sorted(keys)) or 'none'}; expected "
            f"{', '.join(NATIVE_KEYS)}, or data_super, or all of them"
        )
