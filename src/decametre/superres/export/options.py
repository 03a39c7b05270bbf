"""Options of `decametre models export`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from decametre.options import Options, Overwrite


class ExportOptions(Options):
    """Options of an export."""

    format: Literal["onnx"] = "onnx"
    """File format of the network."""

    precision: Literal["float32", "float16"] = "float32"
    """Number format in which the network computes. Inputs and outputs are float32. float16 changes
    results by up to 0.002 of reflectance, as bfloat16 does."""

    form: Literal["grids", "deepness", "evoland"] = "grids"
    """Inputs and outputs. grids: one input for each native grid, of any size, in reflectance.
    deepness: for the QGIS plugin Deepness, one input with all bands at 10 m, in tiles of 600
    pixels. evoland: for sentinel2_superresolution of Evoland, with its YAML file; 20 m bands
    only."""

    offset: Annotated[int, Field(ge=-10000, le=10000)] = 0
    """Form deepness: what must be added to the DN of the layer before they are divided by 10000;
    -1000 for products of processing baseline 04.00 and later as they are published."""

    overwrite: Overwrite = False
