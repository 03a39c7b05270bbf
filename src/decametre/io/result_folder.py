"""The result folder of an evaluation, written completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decametre.errors import OutputError
from decametre.files import check_parent
from decametre.io.tables import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"
CONTENT = {"scores.json", "scores.csv", "scores.md", FIGURES}


class ResultFolder:
    """The folder while it is being written.

    Args:
        path: An empty folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures = path / FIGURES
        self.figures.mkdir()

    def write_scores(self, markdown: str, csv: str, json: str) -> None:
        """Write `scores.md`, `scores.csv` and `scores.json`."""
        for suffix, text in (("md", markdown), ("csv", csv), ("json", json + "\n")):
            (self.path / f"scores.{suffix}").write_text(text, encoding="utf-8")

    def write_figure(
        self, name: str, figure: Figure, head: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Write a figure as PNG, and its numbers as CSV."""
        figure.savefig(self.figures / f"{name}.png")
        (self.figures / f"{name}.csv").write_text(csv_text(head, rows), encoding="utf-8")


def check_result_folder(output: Path, *, overwrite: bool) -> set[str]:
    """Check that a folder can be created or replaced; returns the names in it.

    Args:
        output: The folder.
        overwrite: Allow it to contain an earlier evaluation.

    Raises:
        OutputError: Its parent does not exist, it is a file, it is not empty, or, with `overwrite`,
            contains a file that no evaluation writes.
    """
    check_parent(output)
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give the name of a folder")
    present = {path.name for path in output.iterdir()} if output.exists() else set()
    if present and not overwrite:
        raise OutputError(f"{output} is not empty; use --overwrite to replace an evaluation there")
    if not present <= CONTENT:
        raise OutputError(
            f"{output} contains '{min(present - CONTENT)}', which no evaluation writes; "
            "give another folder"
        )
    return present


@contextmanager
def result_folder(output: Path, *, overwrite: bool) -> Iterator[ResultFolder]:
    """Write a folder next to `output`, and rename it at the end of the context.

    If the context ends with an error, an earlier result in `output` remains as it was.

    Args:
        output: The folder to create; it may exist if it is empty.
        overwrite: Replace the folder of an earlier evaluation.

    Raises:
        OutputError: See `check_result_folder`; or the folder cannot be written.
    """
    output = output.absolute()
    present = check_result_folder(output, overwrite=overwrite)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        yield ResultFolder(partial)
        if present:
            shutil.rmtree(output)
        partial.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot write ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
