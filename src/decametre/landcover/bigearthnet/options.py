"""The options of importing published archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from decametre.landcover.options import Classes, Exclude
from decametre.options import Accepts, FilePath, FilePaths, Options, Overwrite, Text


def _split_list(text: str) -> tuple[str, Path]:
    split, found, path = text.partition("=")
    if not found or not path:
        raise ValueError(f"'{text}' is not SPLIT=LIST, such as train=train.csv")
    return split, Path(path)


def _mapping(value: Any) -> Any:
    return {} if value is None else dict(value)


class ImportOptions(Options):
    """How a published archive is imported."""

    metadata: Annotated[FilePaths, Text(metavar="PARQUET")] = ()
    """metadata.parquet of BigEarthNet v2, by default the one next to an archive of v2. Patches that
    it does not list are skipped. For an archive of v1, it provides splits and countries."""
    classes: Classes = None
    exclude: Exclude = ()
    splits: Annotated[
        dict[str, FilePath],
        BeforeValidator(_mapping),
        Accepts("Mapping[str, PathLike] | None"),
        Text(metavar="SPLIT=LIST", parse=_split_list, flag="--split", unique=True),
    ] = {}  # noqa: RUF012  # frozen, and pydantic copies it
    """List of the patches of train, validation or test. Patches on no list are skipped."""
    skip_damaged: bool = False
    """Skip patches that cannot be read, and report them."""
    overwrite: Overwrite = False
