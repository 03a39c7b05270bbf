"""The 10 m grid of a product, and windows of its pixels.

Windows are in pixels of the 10 m grid. The native grids of the 20 m and 60 m bands share its
origin. A window that starts and ends at multiples of 2 (20 m) or 6 (60 m) holds complete pixels of
these bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from decametre.errors import GridError
from decametre.sentinel2.bands import FINEST_GSD


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels of the 10 m grid. It may reach beyond the product.

    Attributes:
        col: First column.
        row: First row.
        width: Number of columns.
        height: Number of rows.
    """

    col: int
    row: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.col + self.width

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.row + self.height

    def __str__(self) -> str:
        return f"{self.col},{self.row},{self.width},{self.height}"

    def padded(self, margin: int) -> Window:
        """Grown by a margin on all four sides."""
        return Window(
            self.col - margin, self.row - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def snapped(self, step: int) -> Window:
        """Grown outward to the nearest multiples of `step` pixels."""
        col, row = self.col // step * step, self.row // step * step
        right, bottom = -(-self.right // step) * step, -(-self.bottom // step) * step
        return Window(col, row, right - col, bottom - row)

    def intersection(self, other: Window) -> Window:
        """The common part. Its width or height is 0 if there is none."""
        col, row = max(self.col, other.col), max(self.row, other.row)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Window(col, row, max(0, right - col), max(0, bottom - row))

    def contains(self, other: Window) -> bool:
        """Whether the other window lies inside this one."""
        return self.intersection(other) == other

    def coarsened(self, factor: int) -> Window:
        """The same rectangle in pixels of `factor` times the edge.

        The window must be a multiple of the factor.
        """
        assert not any(v % factor for v in (self.col, self.row, self.width, self.height))
        return Window(
            self.col // factor, self.row // factor, self.width // factor, self.height // factor
        )

    def relative_to(self, other: Window) -> Window:
        """The same rectangle, relative to the first pixel of another window."""
        return Window(self.col - other.col, self.row - other.row, self.width, self.height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for the last two axes of an array."""
        return slice(self.row, self.bottom), slice(self.col, self.right)


@dataclass(frozen=True)
class Grid:
    """The 10 m grid of a product, north up.

    Attributes:
        crs: Coordinate reference system, such as `EPSG:32631`, or WKT.
        left: Easting of the western edge, in metres.
        top: Northing of the northern edge, in metres.
        width: Columns at 10 m.
        height: Rows at 10 m.
    """

    crs: str
    left: float
    top: float
    width: int
    height: int

    @property
    def window(self) -> Window:
        """The window of the complete grid."""
        return Window(0, 0, self.width, self.height)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the CRS of the grid."""
        return (
            self.left,
            self.top - self.height * FINEST_GSD,
            self.left + self.width * FINEST_GSD,
            self.top,
        )

    def transform(self, gsd: int = FINEST_GSD) -> tuple[float, float, float, float, float, float]:
        """The six affine coefficients (a, b, c, d, e, f) of the grid at this GSD."""
        return (float(gsd), 0.0, self.left, 0.0, -float(gsd), self.top)

    def shape(self, gsd: int = FINEST_GSD) -> tuple[int, int]:
        """Rows and columns at this GSD."""
        factor = gsd // FINEST_GSD
        return self.height // factor, self.width // factor

    def crop(self, window: Window) -> Grid:
        """The grid of a window inside this one."""
        return Grid(
            self.crs,
            self.left + window.col * FINEST_GSD,
            self.top - window.row * FINEST_GSD,
            window.width,
            window.height,
        )

    def window_of_bounds(self, bounds: tuple[float, float, float, float]) -> Window:
        """The smallest window that covers bounds in the CRS of the grid.

        It may reach beyond the grid.
        """
        west, south, east, north = bounds
        # A hundred-thousandth of a pixel absorbs the rounding of a projection and back.
        col = math.floor((west - self.left) / FINEST_GSD + 1e-5)
        row = math.floor((self.top - north) / FINEST_GSD + 1e-5)
        right = math.ceil((east - self.left) / FINEST_GSD - 1e-5)
        bottom = math.ceil((self.top - south) / FINEST_GSD - 1e-5)
        return Window(col, row, right - col, bottom - row)

    def checked_window(self, window: Window, step: int) -> Window:
        """A window inside the grid, extended to multiples of `step` pixels.

        Args:
            window: In 10 m pixels.
            step: 6 for the 60 m grid, 2 for the 20 m grid.

        Raises:
            GridError: The window is empty or not inside the grid.
        """
        if window.width <= 0 or window.height <= 0:
            raise GridError(f"window {window}: width and height must be at least 1 pixel of 10 m")
        if not self.window.contains(window):
            raise GridError(
                f"window {window} is outside the product, which has {self.width} columns and "
                f"{self.height} rows at 10 m; give COL,ROW,WIDTH,HEIGHT inside that"
            )
        return window.snapped(step).intersection(self.window)
