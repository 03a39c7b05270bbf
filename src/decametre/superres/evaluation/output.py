"""The folder that an evaluation leaves: complete, or not there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decametre.errors import OutputError
from decametre.superres.evaluation import tables
from decametre.superres.evaluation.comparison import Crop
from decametre.superres.evaluation.figures import draw_bars, draw_scene
from decametre.superres.evaluation.results import Evaluation

FIGURES = "figures"
CONTENT = {"scores.json", "scores.csv", "scores.md", FIGURES}


class ResultFolder:
    """The folder while it is being filled.

    Args:
        path: Where to write; exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures = path / FIGURES
        self.figures.mkdir()

    def draw(self, crop: Crop) -> None:
        """Write a scene's picture."""
        # A product's name is its maker's: none may point out of the folder.
        name = re.sub(r"[^\w.@#-]", "_", crop.scene)
        draw_scene(crop, self.figures / f"scene_{name}.png")

    def finish(self, evaluation: Evaluation) -> None:
        """Write scores and bars."""
        draw_bars(evaluation, self.figures)
        for name, content in (
            ("scores.md", tables.markdown(evaluation)),
            ("scores.csv", tables.csv_text(evaluation)),
            ("scores.json", tables.json_text(evaluation) + "\n"),
        ):
            (self.path / name).write_text(content, encoding="utf-8")


@contextmanager
def result_folder(output: Path, *, overwrite: bool) -> Iterator[ResultFolder]:
    """Fill a folder beside `output` and rename it at the end; what went before, error or not, goes.

    Args:
        output: The folder to make; it may exist if it is empty.
        overwrite: Replace an earlier evaluation's folder.

    Raises:
        OutputError: The folder cannot be written, holds something, or, with `overwrite`, holds
            what no evaluation wrote.
    """
    output = output.absolute()
    if not output.parent.is_dir():
        raise OutputError(f"{output}: folder {output.parent} does not exist; make it first")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give the name of a folder")
    held = {path.name for path in output.iterdir()} if output.exists() else set()
    if held and not overwrite:
        raise OutputError(f"{output} is not empty; use --overwrite to replace an evaluation there")
    if not held <= CONTENT:
        raise OutputError(
            f"{output} holds '{min(held - CONTENT)}', which no evaluation wrote; "
            "give another folder"
        )
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        yield ResultFolder(partial)
        if held:
            shutil.rmtree(output)
        partial.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot write ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
