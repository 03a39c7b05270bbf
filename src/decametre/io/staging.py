"""All or nothing: files are made under a temporary name and moved into place at the end."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from decametre.errors import OutputError
from decametre.files import check_parent, locked

log = logging.getLogger(__name__)

LOCK_NAME = "lock"


def check_paths(output: Path, companions: Sequence[str], *, overwrite: bool) -> None:
    """Refuse an output that cannot be written.

    Raises:
        OutputError: The folder does not exist or cannot be written, or a file exists and may not
            be replaced.
    """
    if output.is_dir():
        raise OutputError(f"{output} is a folder; give a file name such as {output}/sharp.tif")
    check_parent(output, writable=True)
    for path in (output, *(output.parent / name for name in companions)):
        if path.is_dir():
            raise OutputError(f"{path} is a folder, and a file of that name is to be written")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already; use --overwrite to replace it")


class Staging:
    """A hidden folder beside the output, in which a run makes its files; a context manager.

    The folder vanishes when the run ends, however it ends. Only a run that was killed leaves it;
    the next run with the same output says so and removes it. A lock held by the running process
    tells the two cases apart.

    Args:
        output: The file that the run is to make.
        companions: Names of the files that may stand beside it.
        overwrite: Allow the output and its companions to exist.
        needed: Bytes that the run will need at most.

    Raises:
        OutputError: The folder does not exist or cannot be written, the output exists, or there is
            too little space.
        BusyError: Another run is at work on it.
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
        # Only now: what a killed run left may be what fills the disk.
        free = shutil.disk_usage(self.folder).free
        if free < self._needed:
            self.__exit__(None, None, None)
            raise OutputError(
                f"{self.output}: {free / 1e6:,.0f} MB free in {self.output.parent}, up to "
                f"{self._needed / 1e6:,.0f} MB needed; free some space or write elsewhere"
            )
        return self

    def path(self, name: str) -> Path:
        """Where to make the file that will get this name beside the output."""
        return self.folder / name

    def commit(self, *names: str) -> None:
        """Move finished files into place, in this order; each move is atomic.

        Companions of an earlier result go first: none may describe the new one.
        """
        for name in self.companions:
            (self.output.parent / name).unlink(missing_ok=True)
        for name in names:
            (self.folder / name).replace(self.output.parent / name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
        with suppress(OSError):  # NFS keeps a file that is open, and so the folder until now
            self.folder.rmdir()
        if isinstance(error, OSError):
            raise OutputError(f"{self.output}: cannot write ({error.strerror or error})") from error
