"""The options of sharpening."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from decametre.options import DEFAULT_TILE, Devices, Models, Overwrite, Precision
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.options import Bands, Masks, Offset, PartOfProduct

DTYPES = {"dn": "uint16", "reflectance": "float32"}
"""Data types of sharpened images by encoding."""


class SharpenOptions(PartOfProduct):
    """How a product is sharpened.

    Attributes:
        single_job: Names of the options that a fleet does not have.
    """

    single_job: ClassVar = frozenset({"window", "bbox", "overwrite"})

    bands: Bands = BAND_NAMES
    offset: Offset = "auto"
    model: Models = ()
    device: Devices = "auto"
    precision: Precision = "auto"
    consistent: bool = False
    """Correct the result so that it reproduces the input when degraded by the sensor's MTF."""
    self_check: bool = True
    """Score the models on degraded windows of the product, and use bicubic interpolation for bands
    in which they are worse."""
    uncertainty: bool = False
    """Also write the standard deviation of the error at every pixel, NAME.uncertainty.tif."""
    encoding: Literal["dn", "reflectance"] = "dn"
    """dn: uint16 with the scale, offset and nodata of the input. reflectance: float32, with NaN as
    nodata."""
    compression: Literal["deflate", "zstd"] = "deflate"
    """Compression of the GeoTIFF."""
    split_bands: bool = False
    """Write each band to its own GeoTIFF, NAME.B05.tif and so on."""
    masks: Masks = ("scl",)
    mask_clouds: bool = False
    """Set pixels to nodata that are cloud or cloud shadow, by the scene classification of Level-2A
    or the cloud mask of Level-1C."""
    quicklook: bool = False
    """Also write a before/after picture, NAME.quicklook.png, and a small NAME.thumbnail.jpg."""
    tile: Annotated[int, Field(ge=60)] = DEFAULT_TILE
    """Edge of the square that is computed at a time, in 10 m pixels; smaller needs less memory."""
    overwrite: Overwrite = False
