"""The Sentinel-2 bands: names, ground sampling distances and what else the instrument fixes.

B10 (cirrus) is absent on purpose: Level-2A products do not have it, and it carries no signal
from the ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from decametre.errors import UnknownNameError

FINEST_GSD = 10
"""Ground sampling distance of the output grid, in metres."""


@dataclass(frozen=True)
class Band:
    """One spectral band of the MultiSpectral Instrument.

    Attributes:
        name: The field's name, `B01` to `B12` and `B8A`.
        band_id: The number that product metadata uses for the band (`band_id="8"` is B8A).
        gsd: Native ground sampling distance in metres: 10, 20 or 60.
        common_name: The STAC `eo:common_name`.
        wavelength: Central wavelength in micrometres (Sentinel-2A).
        bandwidth: Full width at half maximum in micrometres (Sentinel-2A).
        mtf: Gain of the sensor's modulation transfer function at the Nyquist frequency of the
            native grid, between 0 and 1 (mean of the across- and along-track values).
    """

    name: str
    band_id: int
    gsd: int
    common_name: str
    wavelength: float
    bandwidth: float
    mtf: float


ALL_BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", 0, 60, "coastal", 0.4427, 0.021, 0.3175),
        Band("B02", 1, 10, "blue", 0.4924, 0.066, 0.275),
        Band("B03", 2, 10, "green", 0.5598, 0.036, 0.28),
        Band("B04", 3, 10, "red", 0.6646, 0.031, 0.25),
        Band("B05", 4, 20, "rededge071", 0.7041, 0.015, 0.365),
        Band("B06", 5, 20, "rededge075", 0.7405, 0.015, 0.33),
        Band("B07", 6, 20, "rededge078", 0.7828, 0.020, 0.34),
        Band("B08", 7, 10, "nir", 0.8328, 0.106, 0.24),
        Band("B8A", 8, 20, "nir08", 0.8647, 0.021, 0.32),
        Band("B09", 9, 60, "nir09", 0.9451, 0.020, 0.295),
        Band("B11", 11, 20, "swir16", 1.6137, 0.091, 0.205),
        Band("B12", 12, 20, "swir22", 2.2024, 0.175, 0.235),
    )
}
"""The twelve bands by name, in order of wavelength. This is the order of every output."""

BAND_NAMES: tuple[str, ...] = tuple(ALL_BANDS)


def bands_at(gsd: int) -> tuple[str, ...]:
    """Names of the bands whose native grid has this ground sampling distance (10, 20 or 60 m)."""
    return tuple(name for name, band in ALL_BANDS.items() if band.gsd == gsd)


def parse_bands(names: Iterable[str]) -> tuple[str, ...]:
    """Check band names and put them into the order of wavelength.

    Accepts the spellings that people use: `B5`, `b05`, `B05`, `8a`.

    Args:
        names: Band names, in any order; repeated names count once.

    Returns:
        The names as they stand in `ALL_BANDS`, by wavelength.

    Raises:
        UnknownNameError: A name is no band of the output; names the nearest right ones.
    """
    wanted = set()
    for given in names:
        text = given.strip().upper().removeprefix("B")
        name = f"B{text.zfill(2)}"
        if name not in ALL_BANDS:
            raise UnknownNameError("band", given, BAND_NAMES)
        wanted.add(name)
    if not wanted:
        raise UnknownNameError("band", "", BAND_NAMES)
    return tuple(name for name in ALL_BANDS if name in wanted)
