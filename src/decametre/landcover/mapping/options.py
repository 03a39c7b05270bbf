"""The options of mapping land cover."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from decametre.landcover.options import Stride
from decametre.options import Device, FilePath, Names, Overwrite, Precision, Text
from decametre.sentinel2.options import Offset, PartOfProduct


class PredictOptions(PartOfProduct):
    """How the land cover of a product is mapped.

    Attributes:
        single_job: Names of the options that a fleet does not have.
    """

    single_job: ClassVar = frozenset({"window", "bbox", "sharpened", "overwrite"})

    model: Annotated[FilePath, Text(metavar="FOLDER")]
    """Folder of a land-cover model."""
    stride: Stride = 1200
    offset: Offset = "auto"
    sharpen_with: Annotated[
        Names, Text(metavar="NAME|FOLDER", default="the models that sharpened the training images")
    ] = ()
    """For a model trained on sharpened images: name of a super-resolution model or family, or a
    model folder, that sharpens the product."""
    least_data: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Smallest share of a patch with data for which it is classified."""
    encoding: Literal["probability", "percent"] = "probability"
    """probability: float32 from 0 to 1, with NaN as nodata. percent: uint8, with 255 as nodata."""
    geojson: bool = True
    """Also write the patches as GeoJSON."""
    device: Device = "auto"
    precision: Precision = "auto"
    sharpened: Annotated[FilePath | None, Text(metavar="TIF")] = None
    """Output of `decametre sharpen` for the product, with all bands as DN; for a model trained on
    sharpened images."""
    overwrite: Overwrite = False
