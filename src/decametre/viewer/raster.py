"""Read tiles and single pixels of raster files, from the overview that a tile needs."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from decametre.errors import CorruptDataError
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS, driver_of

Bounds = tuple[float, float, float, float]
"""West, south, east and north in the coordinate system of the image."""


@dataclass(frozen=True)
class Channel:
    """One band of a raster file.

    Attributes:
        name: Name of the band, such as `B05`, or of a class.
        path: What GDAL opens.
        index: Number of the band in the file, from 1.
        width: Columns.
        height: Rows.
        left: Easting of the western edge.
        top: Northing of the northern edge.
        pixel: Edge of a pixel, in the same units.
        scale: Value per digital number.
        offset: Added to the scaled number.
        nodata: Number of a pixel without data; NaN pixels are without data in any case.
        saturated: Number of a saturated pixel, or None.
        categorical: Whether the numbers are classes, which cannot be averaged.
    """

    name: str
    path: str
    index: int
    width: int
    height: int
    left: float
    top: float
    pixel: float
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    saturated: float | None = None
    categorical: bool = False

    @property
    def bounds(self) -> Bounds:
        """The area of the file."""
        east, south = self.left + self.width * self.pixel, self.top - self.height * self.pixel
        return self.left, south, east, self.top

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of the file as values, float32, NaN without data."""
        values = numbers.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        if self.nodata is not None:
            values[numbers == self.nodata] = np.nan
        return values


class RasterPool:
    """Open files, each of which is used by one thread at a time.

    GDAL keeps the decoded blocks of a file while it is open, so that other colours of the same
    tile need no second decoding.
    """

    def __init__(self) -> None:
        self._idle: dict[str, list[rasterio.DatasetReader]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, path: str) -> Iterator[rasterio.DatasetReader]:
        """An open file that no other thread uses at the same time.

        Raises:
            CorruptDataError: The file cannot be opened, or not be read in the context.
        """
        with rasterio.Env(**GDAL_OPTIONS):
            with self._lock:
                idle = self._idle.setdefault(path, [])
                dataset = idle.pop() if idle else None
            try:
                dataset = dataset or rasterio.open(path, driver=driver_of(path))
                yield dataset
            except RasterioError as error:
                raise CorruptDataError(f"{path}: cannot be read ({error})") from error
            with self._lock:
                idle.append(dataset)

    def close(self) -> None:
        """Close all files that no thread uses."""
        with self._lock:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()

    def read(self, channel: Channel, bounds: Bounds, shape: tuple[int, int]) -> np.ndarray:
        """The values of a band in a rectangle.

        A pixel of the result has the value of the file's pixel at its centre. If it is larger
        than a pixel of the file, it has the value of the overview, or of a mean of 2, 4, 8 ...
        pixels.

        Args:
            channel: The band.
            bounds: The rectangle; it may reach beyond the file.
            shape: Rows and columns of the result.

        Returns:
            float32, NaN outside the file and without data.
        """
        west, south, east, north = bounds
        rows, columns = shape
        step = (east - west) / columns / channel.pixel
        shrink = 2 ** max(0, math.floor(math.log2(step) + 1e-6))
        x = (west - channel.left) / channel.pixel + (np.arange(columns) + 0.5) * step
        y_step = (north - south) / rows / channel.pixel
        y = (channel.top - north) / channel.pixel + (np.arange(rows) + 0.5) * y_step
        across, columns_in = _covered(x, channel.width, shrink)
        down, rows_in = _covered(y, channel.height, shrink)
        result = np.full(shape, np.nan, np.float32)
        if not columns_in.any() or not rows_in.any():
            return result
        window = Window(across[0], down[0], across[1] - across[0], down[1] - down[0])
        size = (math.ceil(window.height / shrink), math.ceil(window.width / shrink))
        averaged = shrink > 1 and not channel.categorical
        with self.borrow(channel.path) as dataset:
            numbers = dataset.read(
                channel.index,
                window=window,
                out_shape=size,
                resampling=Resampling.average if averaged else Resampling.nearest,
            )
        row = ((y[rows_in] - down[0]) * size[0] / window.height).astype(int)
        column = ((x[columns_in] - across[0]) * size[1] / window.width).astype(int)
        result[np.ix_(rows_in, columns_in)] = channel.values(numbers[np.ix_(row, column)])
        return result

    def sample(self, channel: Channel, x: float, y: float) -> float | None:
        """The value of the pixel at a place; None outside, without data or where saturated."""
        column = math.floor((x - channel.left) / channel.pixel)
        row = math.floor((channel.top - y) / channel.pixel)
        if not (0 <= column < channel.width and 0 <= row < channel.height):
            return None
        with self.borrow(channel.path) as dataset:
            number = dataset.read(channel.index, window=Window(column, row, 1, 1))
        value = float(channel.values(number)[0, 0])
        return None if math.isnan(value) or number[0, 0] == channel.saturated else value

    def percentiles(
        self, channel: Channel, shares: Sequence[float], bounds: Bounds | None = None
    ) -> list[float] | None:
        """Percentiles of a band's values, from at most 512 x 512 pixels of the rectangle.

        Returns:
            One value per share, or None if no pixel has data.
        """
        west, south, east, north = bounds or channel.bounds
        longest = max(east - west, north - south)
        pixel = max(channel.pixel, longest / 512)
        shape = (max(1, round((north - south) / pixel)), max(1, round((east - west) / pixel)))
        values = self.read(channel, (west, south, east, north), shape)
        known = values[~np.isnan(values)]
        if not known.size:
            return None
        return [float(value) for value in np.percentile(known, shares)]


def _covered(centres: np.ndarray, size: int, shrink: int) -> tuple[tuple[int, int], np.ndarray]:
    """Which pixels of the file are under pixel centres, and which centres are on the file.

    Returns:
        First pixel and the one after the last, in steps of `shrink`; and a mask of the centres.
    """
    inside = (centres >= 0) & (centres < size)
    if not inside.any():
        return (0, 0), inside
    first = int(centres[inside][0]) // shrink * shrink
    last = (int(centres[inside][-1]) // shrink + 1) * shrink
    return (first, min(last, size)), inside


def finest_pixel(channels: Iterable[Channel]) -> float:
    """Edge of the smallest pixel among bands."""
    return min(channel.pixel for channel in channels)
