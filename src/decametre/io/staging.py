"""Complete results or none: files are written in a hidden folder and moved at the end."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from decametre.errors import OutputError
from decametre.files import check_parent, locked

log = logging.getLogger(__name__)

LOCK_NAME = "lock"


def check_paths(output: Path, companions: Sequence[str], *, overwrite: bool) -> None:
    """Check that an output can be written.

    Args:
        output: The main file.
        companions: Names of further files in the same folder.
        overwrite: Allow the files to exist.

    Raises:
        OutputError: The folder does not exist or cannot be written, or a file exists.
    """
    check_parent(output, writable=True)
    if output.is_dir():
        raise OutputError(f"{output} is a folder; give a file name such as {output}/sharp.tif")
    for path in (output, *(output.parent / name for name in companions)):
        if path.is_dir():
            raise OutputError(f"{path} is a folder where a file is to be written; rename it")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already; use --overwrite to replace it")


class Staging:
    """A hidden folder next to the output, in which a run writes its files; a context manager.

    The folder is removed when the run ends, also with an error. Only a killed run leaves it behind;
    the next run with the same output logs this and removes the files. A lock held by the running
    process distinguishes the two cases.

    Args:
        output: The main file of the result.
        companions: Names of the other files of the result.
        overwrite: Allow these files to exist.
        needed: Upper bound of the disk space in bytes.

    Raises:
        OutputError: The folder does not exist or cannot be written, the output exists, or there is
            too little space.
        BusyError: Another run is writing the same output.
    """

    def __init__(
        self, output: Path, companions: Sequence[str] = (), *, overwrite: bool, needed: int
    ) -> None:
        self.output, self.companions = output, companions
        self.folder = output.parent / f".{output.name}.partial"
        self._lock = ExitStack()
        check_paths(output, companions, overwrite=overwrite)
        self._needed = needed

    def __enter__(self) -> Self:
        leftover = self.folder.exists()
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.output}: cannot be written ({error.strerror})") from error
        self._lock.enter_context(locked(self.folder / LOCK_NAME, self.output))
        if leftover:
            log.warning(
                "an earlier run for %s was killed before it ended; its partial files are removed",
                self.output,
            )
            for path in self.folder.iterdir():
                if path.name != LOCK_NAME:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        # Checked here, since the files of a killed run may have filled the disk.
        free = shutil.disk_usage(self.folder).free
        if free < self._needed:
            self.__exit__(None, None, None)
            raise OutputError(
                f"{self.output}: {free / 1e6:,.0f} MB free in {self.output.parent}, up to "
                f"{self._needed / 1e6:,.0f} MB needed; free some space or write elsewhere"
            )
        return self

    def path(self, name: str) -> Path:
        """Temporary path of a file of the result."""
        return self.folder / name

    def commit(self, *names: str) -> None:
        """Move complete files to the output folder, in this order; each move is atomic.

        Other files of an earlier result are removed first, since they do not belong to the new one.
        """
        for name in {*self.companions, self.output.name} - {*names}:
            (self.output.parent / name).unlink(missing_ok=True)
        for name in names:
            (self.folder / name).replace(self.output.parent / name)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
        with suppress(OSError):  # NFS keeps open files, and so the folder, until they are closed
            self.folder.rmdir()
        if isinstance(error, OSError):
            raise OutputError(f"{self.output}: cannot write ({error.strerror or error})") from error
