"""Measure how much a product's bands are blurred."""

from __future__ import annotations

from decametre.api.keywords import takes
from decametre.api.opening import opened
from decametre.options import PathLike
from decametre.sentinel2.options import OpenOptions
from decametre.sentinel2.product import Product
from decametre.superres.degradation import measured_mtf
from decametre.superres.degradation.measured_mtf import MeasuredMtf


@takes(OpenOptions)
def measure_mtf(product: Product | PathLike, options: OpenOptions) -> list[MeasuredMtf]:
    """Measure the gain of the 20 m and 60 m bands at the Nyquist frequency of their grids.

    Args:
        product: What `open` takes, or an opened product; with its four 10 m bands.

    Returns:
        The bands that the product has, by wavelength, each with a 95 % interval.

    Raises:
        DecametreError: The product cannot be read, or a 10 m band is missing.
    """
    return measured_mtf.measure_mtf(opened(product, options.offset))
