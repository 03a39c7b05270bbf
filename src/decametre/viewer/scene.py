"""One result and what it was made from: tiles, values under the cursor, description."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform

from decametre.errors import UnknownNameError, ViewError
from decametre.viewer import styles
from decametre.viewer.layer import CLASSES, Layer, described
from decametre.viewer.raster import Bounds, RasterPool
from decametre.viewer.style_request import StyleRequest

TILE = 512
"""Rows and columns of a tile: those of a block of our GeoTIFFs."""


@dataclass(frozen=True)
class Scene:
    """A result and, if it is known, the image before.

    Attributes:
        result: The image on the right of the swipe line.
        before: The image on the left of it, in the same coordinate system, or None.
        card: The quality card of the result, or what else is known of it; may be empty.
        first_bands: Bands to show first; empty for a choice by the bands that are there.
    """

    result: Layer
    before: Layer | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    first_bands: Sequence[str] = ()
    pool: RasterPool = field(default_factory=RasterPool, repr=False)

    def __post_init__(self) -> None:
        if self.before is not None:
            _check_same_place(self.result, self.before)

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by their names in addresses."""
        layers = {"before": self.before, "result": self.result}
        return {name: layer for name, layer in layers.items() if layer is not None}

    def layer(self, name: str) -> Layer:
        """A layer.

        Raises:
            UnknownNameError: There is no layer of this name.
        """
        if name not in self.layers:
            raise UnknownNameError("layer", name, self.layers)
        return self.layers[name]

    @cached_property
    def resolutions(self) -> list[float]:
        """Edge of a tile's pixel at each zoom level, from a single tile to the finest pixel."""
        pixel = min(layer.pixel for layer in self.layers.values())
        west, south, east, north = self.result.bounds
        levels = max(0, math.ceil(math.log2(max(east - west, north - south) / (pixel * TILE))))
        return [pixel * 2**level for level in range(levels, -1, -1)]

    def tile_bounds(self, zoom: int, column: int, row: int) -> Bounds:
        """The area of a tile. Tiles are counted from the north-western corner of the result.

        Raises:
            ViewError: There is no such zoom level.
        """
        if not 0 <= zoom < len(self.resolutions):
            raise ViewError(f"zoom level {zoom}: there are {len(self.resolutions)} levels")
        west, _, _, north = self.result.bounds
        edge = self.resolutions[zoom] * TILE
        return (
            west + column * edge,
            north - (row + 1) * edge,
            west + (column + 1) * edge,
            north - row * edge,
        )

    def tile(self, layer: str, zoom: int, column: int, row: int, style: StyleRequest) -> bytes:
        """A tile as PNG, transparent without data.

        Raises:
            UnknownNameError: There is no such layer or band.
            ViewError: There is no such zoom level.
            CorruptDataError: A file cannot be read.
        """
        chosen, bounds = self.layer(layer), self.tile_bounds(zoom, column, row)
        channels = {name: chosen.channel(name) for name in style.names}
        with ThreadPoolExecutor(len(channels)) as threads:
            read = threads.map(
                lambda channel: self.pool.read(channel, bounds, (TILE, TILE)), channels.values()
            )
            bands = dict(zip(channels, read, strict=True))
        return styles.png(style.image([bands[name] for name in style.names], chosen.legend))

    def values(self, x: float, y: float) -> dict[str, Any]:
        """The values of all bands of all layers at a place, and its longitude and latitude."""
        (longitude,), (latitude,) = transform(self.result.crs, "EPSG:4326", [x], [y])
        found: dict[str, Any] = {"lon": longitude, "lat": latitude}
        with ThreadPoolExecutor(4) as threads:
            for key, layer in self.layers.items():
                channels = list(layer.channels.values())
                values = threads.map(
                    self.pool.sample, channels, itertools.repeat(x), itertools.repeat(y)
                )
                found[key] = dict(zip(layer.channels, values, strict=True))
        return found

    def limits(self, bounds: Bounds | None = None) -> dict[str, list[float] | None]:
        """The values of each band that are shown as black and white.

        They are those of the result; before and after are stretched alike.

        Args:
            bounds: The area whose percentiles count; all by default.
        """
        channels = {
            name: channel
            for layer in self.layers.values()
            for name, channel in layer.channels.items()
            if name != CLASSES
        }
        with ThreadPoolExecutor(4) as threads:
            limits = threads.map(
                lambda channel: self.pool.percentiles(channel, styles.SHARES, bounds),
                channels.values(),
            )
            return dict(zip(channels, limits, strict=True))

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the page needs to know."""
        west, south, east, north = self.result.bounds
        epsg = CRS.from_user_input(self.result.crs).to_epsg()
        here = {name for layer in self.layers.values() for name in layer.channels}
        return {
            "title": self.result.title,
            "crs": self.result.crs if epsg is None else f"EPSG:{epsg}",
            "bounds": [west, south, east, north],
            "resolutions": self.resolutions,
            "tile_size": TILE,
            "layers": {
                key: {
                    "title": layer.title,
                    "bands": described(layer),
                    "classes": [asdict(entry) for entry in layer.legend],
                }
                for key, layer in self.layers.items()
            },
            "presets": {
                name: bands for name, bands in styles.PRESETS.items() if here.issuperset(bands)
            },
            "indices": [
                asdict(index) for index in styles.INDICES.values() if here >= {index.a, index.b}
            ],
            "scales": {name: styles.gradient(name) for name in styles.SCALES},
            "limits": self.limits(),
            "first_bands": list(self.first_bands),
            "card": dict(self.card),
        }

    def checked(self) -> Scene:
        """This scene, if the bands to show first exist.

        Raises:
            UnknownNameError: One of them does not exist.
        """
        known = dict.fromkeys(itertools.chain(*(layer.channels for layer in self.layers.values())))
        for name in self.first_bands:
            if name not in known:
                raise UnknownNameError("band", name, known)
        return self


def _check_same_place(result: Layer, before: Layer) -> None:
    """Check that two layers can be laid over one another without warping.

    Raises:
        ViewError: They have different coordinate systems, or no area in common.
    """
    if CRS.from_user_input(result.crs) != CRS.from_user_input(before.crs):
        raise ViewError(
            f"{before.title} is in {before.crs:.40}, {result.title} in {result.crs:.40}; "
            "give images of one coordinate system"
        )
    one, other = np.array(result.bounds), np.array(before.bounds)
    if (np.maximum(one, other)[:2] >= np.minimum(one, other)[2:]).any():
        raise ViewError(f"{before.title} and {result.title} have no area in common")
