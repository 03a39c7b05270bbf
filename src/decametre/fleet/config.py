"""The configuration of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import Work
from decametre.fleet.options import FleetOptions


@dataclass(frozen=True)
class FleetConfig:
    """The products of a run and how they are processed.

    Attributes:
        work: How each product is processed.
        entries: The products.
        out: The output folder; created if it does not exist.
        options: Retries, scratch folder and others; its choice of workers is not used.
        command: The command line, for the journal.
    """

    work: Work
    entries: Sequence[ProductEntry]
    out: Path
    options: FleetOptions
    command: str
