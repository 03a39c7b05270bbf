"""One product of the list that a fleet processes."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "fleet"
"""Subfolder of the output folder for the fleet's own files. No product has this name."""


@dataclass(frozen=True)
class ProductEntry:
    """A product to process.

    Attributes:
        name: Name of the result's folder and files, unique within the list.
        source: Path or URL, as `sentinel2.opening.open_product` takes it.
        size: Size of the input in bytes, by which the work is ordered; None if unknown.
    """

    name: str
    source: str
    size: int | None = None
