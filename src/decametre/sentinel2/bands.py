"""The Sentinel-2 bands: names, ground sampling distances, wavelengths and blur.

B10 (cirrus) is deliberately absent: Level-2A products do not have it, and it carries no signal
from the ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from decametre.errors import UnknownNameError

FINEST_GSD = 10
"""Ground sampling distance of the output grid, in metres."""

COARSEST_FACTOR = 6
"""Edge of a 60 m pixel in 10 m pixels. Windows that are multiples of it hold complete pixels of
every band."""


@dataclass(frozen=True)
class Band:
    """One spectral band of the MultiSpectral Instrument.

    Attributes:
        name: Name of the band, `B01` to `B12` and `B8A`.
        band_id: Number of the band in product metadata (`band_id="8"` is B8A).
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
"""The twelve bands by name, in order of wavelength: the order of outputs by default."""

BAND_NAMES: tuple[str, ...] = tuple(ALL_BANDS)


def bands_at(gsd: int) -> tuple[str, ...]:
    """Names of the bands with this native ground sampling distance: 10, 20 or 60 m."""
    return tuple(name for name, band in ALL_BANDS.items() if band.gsd == gsd)


def parse_bands(names: Iterable[str]) -> tuple[str, ...]:
    """Check band names; their order is kept.

    Accepts common spellings: `B5`, `b05`, `B05`, `8a`.

    Args:
        names: Band names, possibly repeated.

    Returns:
        The names as spelled in `ALL_BANDS`, each once, in the order given.

    Raises:
        UnknownNameError: There is no such band. The message proposes similar names.
    """
    found: dict[str, None] = {}
    for given in names:
        text = given.strip().upper().removeprefix("B")
        name = f"B{text.zfill(2)}"
        if name not in ALL_BANDS:
            raise UnknownNameError("band", given, BAND_NAMES)
        found[name] = None
    if not found:
        raise UnknownNameError("band", "", BAND_NAMES)
    return tuple(found)
