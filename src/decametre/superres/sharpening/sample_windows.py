"""A sample of the windows of a product, which is the same in every run."""

from __future__ import annotations

from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader

WINDOWS = 3
"""Largest number of windows. With 3, the self-check takes 0.6 % of the time of a full tile."""

BLOCK = 1024
"""Edge of the blocks of 10 m images, in pixels. A window inside a block needs one of them only."""

CELL = 36
"""Edge of the coarsest degraded pixel, 360 m, in 10 m pixels; windows are multiples of it."""

EDGE = BLOCK // CELL * CELL
"""Largest edge of a window, in 10 m pixels."""

MIN_VALID = 0.5
"""Share of measured pixels that a window needs."""

FIRST = 100
"""Length of the sequence that spreads windows."""

X_STEP, Y_STEP = 0.7548776662466927, 0.5698402909980532
"""Steps of the sequence R2, which fills a square evenly (Roberts 2018, "The unreasonable
effectiveness of quasirandom sequences")."""


def sample_windows(product: Product, part: Window, band: str) -> list[Window]:
    """At most `WINDOWS` windows in which at least half of a band was measured, in row order.

    Args:
        product: The product.
        part: Where the windows are, in 10 m pixels, a multiple of 6.
        band: The band, of the coarsest grid.

    Returns:
        The windows, in 10 m pixels; none if the part has no room for one.

    Raises:
        CorruptDataError: The band cannot be decoded.
    """
    rows, cols = _starts(part.row, part.bottom), _starts(part.col, part.right)
    candidates = [Window(col, row, width, height) for row, height in rows for col, width in cols]
    # The first windows of this sequence are spread over the part, and the others follow.
    spread = [
        candidates[int(len(rows) * y) * len(cols) + int(len(cols) * x)]
        for x, y in (((0.5 + k * X_STEP) % 1, (0.5 + k * Y_STEP) % 1) for k in range(FIRST))
        if candidates
    ]
    chosen: list[Window] = []
    valid = product.bands[band].radiometry.valid
    with BandReader(product, [band]) as reader:
        for window in dict.fromkeys([*spread, *candidates]):
            if len(chosen) == WINDOWS:
                break
            if valid(reader.read(band, window)).mean() >= MIN_VALID:
                chosen.append(window)
    return sorted(chosen, key=lambda window: (window.row, window.col))


def _starts(start: int, stop: int) -> list[tuple[int, int]]:
    """First pixel and length of the candidates along one axis.

    They start in different blocks, at multiples of 6; if no block is in the part completely, there
    is one, at its start.
    """
    blocks = [-(-first // 6) * 6 for first in range(0, stop, BLOCK)]
    complete = [(first, EDGE) for first in blocks if start <= first and first + EDGE <= stop]
    length = min(EDGE, (stop - start) // CELL * CELL)
    return complete or ([(start, length)] if length else [])
