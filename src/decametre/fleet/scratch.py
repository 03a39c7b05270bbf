"""Folders for copies of the input on a worker's fast disk; those of killed workers are removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decametre.errors import OutputError
from decametre.files import is_locked, locked

PREFIX, LOCK = "decametre-", "lock"


@contextmanager
def scratch_folder(within: str | None) -> Iterator[Path | None]:
    """Create a folder for copies of a product's input; it is removed after the block.

    A killed worker cannot remove its folder, so the next call does. Folders in use are locked.

    Args:
        within: Folder on the fast disk; None yields None.

    Raises:
        OutputError: The folder cannot be created.
    """
    if within is None:
        yield None
        return
    try:
        _sweep(Path(within))
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
    except OSError as error:
        raise OutputError(
            f"{within}: cannot create a folder for copies ({error.strerror})"
        ) from error
    try:
        with locked(folder / LOCK, folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(within: Path) -> None:
    """Remove folders that no process has locked; those without a lock file are just being made."""
    for path in within.glob(f"{PREFIX}*/{LOCK}"):
        try:
            in_use = is_locked(path)
        except OSError:  # another user's, or removed in the meantime
            continue
        if not in_use:
            shutil.rmtree(path.parent, ignore_errors=True)
