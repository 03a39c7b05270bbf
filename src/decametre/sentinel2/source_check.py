"""Checks of a product's path that open no file, so a wrong path costs no import of GDAL."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from decametre.errors import NotAProductError
from decametre.files import check_path
from decametre.sentinel2.hrefs import is_remote, local_path


def check_source(source: str | os.PathLike[str]) -> None:
    """Check that the path of a product exists; URLs are not checked.

    Raises:
        NotAProductError: There is nothing at this path. The message proposes a similar name.
        InvalidPathError: See `decametre.files.check_path`.
    """
    text = os.fspath(source)
    if is_remote(text):
        return
    path = Path(local_path(text))
    check_path(path)
    if not path.exists():
        raise NotAProductError(f"{path}: no such file or folder{_near(path)}")


def names_in(folder: Path) -> list[str]:
    """Names of the files in a folder; empty if it is not readable."""
    try:
        return sorted(each.name for each in folder.iterdir())
    except OSError:
        return []


def _near(path: Path) -> str:
    """Proposal of a file with a similar name in the same folder."""
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}"
    near = difflib.get_close_matches(path.name, names_in(path.parent), n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""
