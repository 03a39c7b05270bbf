"""Division of a product into cores, which are windows without their margins."""

from __future__ import annotations

from itertools import pairwise

from decametre.sentinel2.grid import Window


def split(window: Window, size: int, step: int) -> list[Window]:
    """Divide a window into cores of about equal size, row by row.

    Args:
        window: In 10 m pixels, starting at a multiple of `step`.
        size: Largest edge of a core in 10 m pixels; at least `step`.
        step: Cores start at multiples of this number of 10 m pixels.

    Returns:
        Cores that cover the window without overlap, in reading order.
    """
    rows = _edges(window.row, window.bottom, size, step)
    cols = _edges(window.col, window.right, size, step)
    return [
        Window(left, top, right - left, bottom - top)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
    ]


def _edges(start: int, stop: int, size: int, step: int) -> list[int]:
    """The starts of all cores along one axis, and the end of the last."""
    count = -(-(stop - start) // max(size, step))
    length = -(-(stop - start) // (count * step)) * step
    return [*range(start, stop, length), stop]
