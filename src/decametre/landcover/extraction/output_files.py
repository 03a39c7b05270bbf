"""Paths of an extraction, and checks of them that need no product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from decametre.errors import OutputError
from decametre.files import check_parent


@dataclass(frozen=True)
class StoreFiles:
    """The files of one extraction, all in one folder.

    Attributes:
        store: The HDF5 file that the user names.
    """

    store: Path

    @property
    def shards(self) -> Path:
        """The folder of the shards, if several workers cut the patches."""
        return self.store.with_suffix(".shards")

    @property
    def work(self) -> Path:
        """The hidden folder of an unfinished run."""
        return self.store.parent / f".{self.store.name}.extraction"

    def check(self, *, overwrite: bool) -> None:
        """Check that the store can be written.

        Raises:
            OutputError: It has the wrong suffix, its folder does not exist or cannot be written, or
                it exists and `overwrite` is false.
        """
        if self.store.is_dir() or self.store.suffix.lower() not in (".h5", ".hdf5"):
            raise OutputError(f"{self.store}: give the name of a file that ends in .h5")
        check_parent(self.store, writable=True)
        for path in (self.store, self.shards):
            # A killed run may have moved its shards into place, but not yet the store.
            if path.exists() and not overwrite and not (self.work / self.store.name).exists():
                raise OutputError(f"{path} exists already; use --overwrite to replace it")
