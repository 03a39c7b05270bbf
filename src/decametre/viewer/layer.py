"""What a map shows: the bands of a GeoTIFF or of a Sentinel-2 product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from defusedxml import ElementTree
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from decametre.errors import UnknownNameError, ViewError
from decametre.landcover.mapping.geotiff import names_path
from decametre.sentinel2.bands import ALL_BANDS, parse_bands
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import SATURATED
from decametre.viewer.raster import Bounds, Channel, finest_pixel

CLASSES = "classes"
"""Name of the band of a land-cover map that holds the most probable class."""


@dataclass(frozen=True)
class LandCoverClass:
    """A class of a map.

    Attributes:
        value: Number of its pixels.
        name: Name, for the legend.
        colour: Red, green, blue and opacity, 0 to 255.
    """

    value: int
    name: str
    colour: tuple[int, int, int, int]


@dataclass(frozen=True)
class Layer:
    """Bands of one place in one coordinate system.

    Attributes:
        title: Name, for the page.
        crs: Coordinate system of all bands, as `EPSG:32631` or WKT.
        channels: The bands by name, in the order of display.
        legend: The classes of the band `CLASSES`; empty without that band.
    """

    title: str
    crs: str
    channels: Mapping[str, Channel]
    legend: Sequence[LandCoverClass] = ()

    @property
    def bounds(self) -> Bounds:
        """The area of the bands."""
        return next(iter(self.channels.values())).bounds

    @property
    def pixel(self) -> float:
        """Edge of the smallest pixel."""
        return finest_pixel(self.channels.values())

    def channel(self, name: str) -> Channel:
        """A band.

        Raises:
            UnknownNameError: There is no band of this name.
        """
        if name not in self.channels:
            raise UnknownNameError("band", name, self.channels)
        return self.channels[name]

    def with_classes_of(self, other: Layer) -> Layer:
        """This layer and the class map of another one."""
        channels = {CLASSES: other.channels[CLASSES], **self.channels}
        return Layer(self.title, self.crs, channels, other.legend)


def layer_of_product(product: Product) -> Layer:
    """The bands of a product, each on its native grid."""
    channels = {}
    for name, file in product.bands.items():
        gsd = file.band.gsd
        rows, columns = product.grid.shape(gsd)
        channels[name] = Channel(
            name=name,
            path=file.path,
            index=1,
            width=columns,
            height=rows,
            left=product.grid.left,
            top=product.grid.top,
            pixel=float(gsd),
            scale=file.radiometry.scale,
            offset=file.radiometry.offset,
            nodata=file.radiometry.nodata,
            saturated=file.radiometry.saturated,
        )
    return Layer(product.id, product.grid.crs, channels)


def layer_of_geotiff(path: Path) -> Layer:
    """The bands of a GeoTIFF.

    Names, scales and offsets are those that the file states. A file of one band with a colour
    table is a class map.

    Raises:
        ViewError: It is no GeoTIFF, or has no georeference, or is not north up.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver="GTiff") as dataset:
            return _layer(path, dataset)
    except RasterioError as error:
        raise ViewError(f"{path}: cannot be opened as a GeoTIFF ({error})") from error


def _layer(path: Path, dataset: rasterio.DatasetReader) -> Layer:
    transform = dataset.transform
    if dataset.crs is None:
        raise ViewError(f"{path}: the file has no georeference; give a georeferenced GeoTIFF")
    if transform.b or transform.d or abs(transform.a + transform.e) > 1e-6 * transform.a:
        raise ViewError(f"{path}: the image is not north up with square pixels; warp it first")
    has_classes = dataset.count == 1 and dataset.colorinterp[0] is ColorInterp.palette
    names = [CLASSES] if has_classes else _band_names(dataset.descriptions)
    channels = {
        name: Channel(
            name=name,
            path=str(path),
            index=index,
            width=dataset.width,
            height=dataset.height,
            left=transform.c,
            top=transform.f,
            pixel=transform.a,
            scale=dataset.scales[index - 1],
            offset=dataset.offsets[index - 1],
            nodata=dataset.nodatavals[index - 1],
            saturated=SATURATED if dataset.dtypes[index - 1] == "uint16" else None,
            categorical=has_classes,
        )
        for index, name in enumerate(names, start=1)
    }
    legend = _legend(path, dataset) if has_classes else ()
    epsg = dataset.crs.to_epsg()
    return Layer(path.stem, f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(), channels, legend)


def _band_names(descriptions: Sequence[str | None]) -> list[str]:
    """A different name for each band: that of the Sentinel-2 band, the description, or `band N`."""
    names: list[str] = []
    for number, description in enumerate(descriptions, start=1):
        name = (description or "").strip()
        with suppress(UnknownNameError):
            name = parse_bands([name])[0]
        names.append(name if name and name not in names else f"band {number}")
    return names


def _legend(path: Path, dataset: rasterio.DatasetReader) -> list[LandCoverClass]:
    """The classes of a colour table, with the names of `NAME.aux.xml` if there is one."""
    names = _class_names(names_path(path))
    colours = dataset.colormap(1)
    if names:
        colours = {value: colour for value, colour in colours.items() if value < len(names)}
    return [
        LandCoverClass(value, names[value] if names else f"class {value}", colour)
        for value, colour in colours.items()
        if value != dataset.nodata and (names or any(colour[:3]))
    ]


def _class_names(path: Path) -> list[str]:
    try:
        tree = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return []
    return [each.text or "" for each in tree.iter("Category")]


def described(layer: Layer) -> list[dict[str, Any]]:
    """The bands of a layer, for the page."""
    return [
        {
            "name": name,
            "pixel": channel.pixel,
            "wavelength": ALL_BANDS[name].wavelength if name in ALL_BANDS else None,
            "common_name": ALL_BANDS[name].common_name if name in ALL_BANDS else None,
        }
        for name, channel in layer.channels.items()
    ]
