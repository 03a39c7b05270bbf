"""Tables of results: human-readable as Markdown, machine-readable as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

UNDEFINED = "-"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Text above the table.
        head: Column heads.
        rows: The cells.
        names: Number of columns at the left that hold names rather than numbers.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1

    def markdown(self) -> str:
        """Markdown with aligned columns."""
        lines = [[cell.replace("|", "\\|") for cell in line] for line in (self.head, *self.rows)]
        widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
        rule = [
            "-" * width if column < self.names else "-" * (width - 1) + ":"
            for column, width in enumerate(widths)
        ]
        padded = [
            [
                cell.ljust(width) if column < self.names else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            for line in (lines[0], rule, *lines[1:])
        ]
        return "\n".join([self.title, "", *(f"| {' | '.join(line)} |" for line in padded)])


def number(value: float, decimals: int) -> str:
    """A number as a table cell."""
    return UNDEFINED if math.isnan(value) else f"{value:.{decimals}f}"


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a head line; floats with all their digits, `nan` and `inf` as such."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(
        [repr(float(cell)) if isinstance(cell, float) else cell for cell in row] for row in rows
    )
    return out.getvalue()


def json_text(document: Any) -> str:
    """Indented JSON; null for numbers that are not finite."""
    return json.dumps(finite(document), indent=2, allow_nan=False)


def finite(value: Any) -> Any:
    """Replace numbers that JSON lacks, NaN and infinity, by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
