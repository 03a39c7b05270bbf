"""Tables, files and figures that the reports of benchmarks have in common."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decametre.errors import OutputError


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of repeated measurements."""

    median: float
    least: float
    most: float

    def __format__(self, how: str) -> str:
        return f"{self.median:{how}} ({self.least:{how}} to {self.most:{how}})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of some values."""
    return Spread(median(values), min(values), max(values))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


@contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """In this context, operating system errors become one-line errors.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of at least one row; its header has the keys of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as indented JSON."""
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width: In inches.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), dpi=120)
    figure.set_layout_engine("constrained")
    return figure


def save_figure(figure: Figure, legend_of: Axes, caption: str, path: Path) -> None:
    """Add a legend and a caption to a figure, and write it.

    Args:
        figure: The figure.
        legend_of: Axes whose labels the legend shows.
        caption: Text below the figure.
        path: The PNG file.
    """
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = legend_of.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.supxlabel(textwrap.fill(caption, 140), fontsize=7)
    figure.savefig(path)
