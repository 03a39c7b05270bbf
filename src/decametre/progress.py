"""How a job reports its progress to whoever started it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, int], None]
"""Called with the units completed (such as windows or patches), the units in total, and the amount
processed by this run (such as pixels)."""


def silent(completed: int, total: int, amount: int) -> None:
    """Report nothing."""
