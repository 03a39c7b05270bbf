"""One product of a list that a fleet is to do."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "fleet"
"""Folder, in that of the results, of what a fleet keeps for itself: no product has this name."""


@dataclass(frozen=True)
class ProductEntry:
    """A product to be done.

    Attributes:
        name: What the result's folder and files are called; no other entry of a list has it.
        source: What `io.opening.open_product` takes: a path or a URL.
        size: Bytes of the input, by which work is ordered; None where nothing says it.
    """

    name: str
    source: str
    size: int | None = None
