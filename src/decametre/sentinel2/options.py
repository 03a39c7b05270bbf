"""Options about the input product that several verbs share."""

from __future__ import annotations

import hashlib
import math
import operator
import os
from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from decametre.errors import GridError, RadiometryError, UnknownNameError
from decametre.options import Accepts, Options, Text
from decametre.sentinel2.bands import parse_bands
from decametre.sentinel2.grid import Window


def parse_offset(offset: str | float) -> float | None:
    """Parse a user's radiometric offset; returns DN, or None for `auto`.

    Raises:
        RadiometryError: It is not `auto`, `none` or a number of DN.
    """
    if offset == "auto":
        return None
    if offset == "none":
        return 0.0
    try:
        value = float(offset)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RadiometryError(
            f"offset '{offset}': give auto, none, or a number of DN such as -1000"
        )
    if 0 < abs(value) < 1:
        raise RadiometryError(
            f"offset {value:g}: give DN, not reflectance; {value:g} is {value * 1e4:g} DN"
        )
    return value


def _checked_offset(offset: str | float) -> str | float:
    parse_offset(offset)
    return offset


def _numbers(form: str, number: Callable[[str], Any]) -> Text:
    """Comma-separated numbers, as many as in the form."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            numbers = tuple(number(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(form.split(",")):
            raise ValueError(f"'{text}' is not {form}")
        return numbers

    return Text(metavar=form, parse=parse, repeatable=False)


def _window(value: Any) -> Any:
    if value is None or isinstance(value, Window):
        return value
    try:
        return Window(*map(operator.index, value))
    except TypeError:
        raise ValueError(f"{value!r} is not (column, row, width, height)") from None


def _box(value: Any) -> Any:
    try:
        return value if value is None else tuple(map(float, value))
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not (west, south, east, north)") from None


def _not_empty(box: tuple[float, float, float, float] | None) -> Any:
    if box is None:
        return None
    west, south, east, north = box
    crosses_antimeridian = west - east > 180
    if south >= north or (west >= east and not crosses_antimeridian):
        raise GridError(
            f"bbox {west},{south},{east},{north} is empty; give WEST,SOUTH,EAST,NORTH in degrees"
        )
    return box


Offset = Annotated[
    str | int | float,
    AfterValidator(_checked_offset),
    Accepts("str | float"),
    Text(metavar="auto|none|VALUE", parse=str),
    Field(
        description="Radiometric offset. auto: as stated in the product's metadata. none: zero. "
        "Or a number of DN, such as -1000."
    ),
]

PartWindow = Annotated[
    Window | None,
    BeforeValidator(_window),
    Accepts("Window | tuple[int, int, int, int] | None"),
    _numbers("COL,ROW,WIDTH,HEIGHT", int),
    Field(
        description="Part of the product: first column, first row, width and height in 10 m "
        "pixels. It is extended to complete 60 m pixels."
    ),
]

BoundingBox = Annotated[
    tuple[float, float, float, float] | None,
    BeforeValidator(_box),
    _numbers("WEST,SOUTH,EAST,NORTH", float),
]

"""West, south, east and north in degrees. If west is greater than east, the box crosses the
antimeridian."""

PartBox = Annotated[
    BoundingBox,
    AfterValidator(_not_empty),
    Field(
        description="Part of the product: west, south, east and north in degrees of longitude and "
        "latitude. It is extended to complete 60 m pixels."
    ),
]

Bands = Annotated[
    tuple[str, ...],
    BeforeValidator(parse_bands),
    Accepts("Sequence[str]"),
    Text(parse=lambda text: text.split(","), default="all twelve", repeatable=False),
    Field(description="Bands of the output in this order, such as B12,B11,B05."),
]


MASK_NAMES = ("scl", "cloud_probability", "snow_probability", "l1c_clouds", "detectors")
"""Rasters that products may contain besides their bands, see `sentinel2.masks`."""


def _masks(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value)
    if names in ([], [""], ["none"]):
        return ()
    for name in names:
        if name not in MASK_NAMES:
            raise UnknownNameError("mask", str(name), (*MASK_NAMES, "none"))
    return tuple(name for name in MASK_NAMES if name in names)


Masks = Annotated[
    tuple[str, ...],
    BeforeValidator(_masks),
    Accepts("str | Sequence[str]"),
    Text(
        metavar="NAME,...|none",
        parse=lambda text: text.split(","),
        default="scl, where the product has it",
        repeatable=False,
    ),
    Field(
        description="Rasters of the product to copy to the 10 m grid, NAME.scl.tif and so on: scl, "
        "cloud_probability, snow_probability, l1c_clouds, detectors; or none."
    ),
]


def _area(value: Any) -> Any:
    if value is None:
        return None
    from decametre.sentinel2.area import area_text  # imports GDAL

    return area_text(os.fspath(value))


AreaOfInterest = Annotated[
    str | None,
    BeforeValidator(_area),
    Accepts("PathLike | None"),
    Text(metavar="FILE|WKT"),
    Field(
        description="Part of the product: the bounds of polygons in a GeoJSON file, a GeoPackage "
        "or WKT, extended to complete 60 m pixels."
    ),
]


class PartOfProduct(Options):
    """The part of a product to process; the complete product by default."""

    window: PartWindow = None
    bbox: PartBox = None
    aoi: AreaOfInterest = None
    crop: bool = False
    """Set pixels outside the polygons of `aoi` to nodata."""

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if sum(part is not None for part in (self.window, self.bbox, self.aoi)) > 1:
            raise GridError("give a window, a bbox or an area of interest, not several of them")
        if self.crop and self.aoi is None:
            raise GridError("crop needs an area of interest (aoi)")
        return self

    @property
    def area_settings(self) -> dict[str, Any]:
        """The area of interest as settings of a result: a checksum, and whether it is cropped."""
        digest = hashlib.sha256(self.aoi.encode()).hexdigest()[:16] if self.aoi else None
        return {"aoi": digest, "crop": self.crop}


class OpenOptions(Options):
    """How a product is opened."""

    offset: Offset = "auto"
