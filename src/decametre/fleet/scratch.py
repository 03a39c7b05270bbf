"""Copies of the input on a worker's fast disk, and what killed workers left of them."""

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
    """A folder for copies of a product's input, removed after.

    A worker that is killed cannot remove its own; whoever comes next does. A lock tells them from
    those in use.

    Args:
        within: The disk's folder; without, None is yielded.

    Raises:
        OutputError: None can be made there.
    """
    if within is None:
        yield None
        return
    try:
        _sweep(Path(within))
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
    except OSError as error:
        raise OutputError(f"{within}: no copy can be made there ({error.strerror})") from error
    try:
        with locked(folder / LOCK, folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(within: Path) -> None:
    """Remove folders that no process holds locked; one without a lock file is just being made."""
    for path in within.glob(f"{PREFIX}*/{LOCK}"):
        try:
            in_use = is_locked(path)
        except OSError:  # another user's, or removed in the meantime
            continue
        if not in_use:
            shutil.rmtree(path.parent, ignore_errors=True)
