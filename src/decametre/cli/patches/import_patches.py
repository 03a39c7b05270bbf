"""`decametre patches import`: a published archive in, a store out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from decametre import api
from decametre.cli.console import progress_of

log = logging.getLogger(__name__)


class SplitList(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """`train=train.csv` as a split and a path."""

    name = "SPLIT=LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a pair."""
        split, found, path = str(value).partition("=")
        if not found or not path:
            self.fail(f"'{value}' is not SPLIT=LIST, such as train=train.csv", param, ctx)
        return split, Path(path)


@click.command("import")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PARQUET",
    help="BigEarthNet v2's metadata.parquet; found by itself beside an archive of v2. Patches that "
    "it does not name are left out. With v1, it gives official splits and countries. Repeatable.",
)
@click.option(
    "--classes",
    type=click.Choice(["19", "43"]),
    help="Nomenclature of the labels; the archive's own without. v1 has 43, and can give 19.",
)
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="LIST",
    help="Leave out the patches of a list: v1's CSV files of snowy and of cloudy patches, v2's "
    "table of them. Repeatable.",
)
@click.option(
    "--split",
    "splits",
    type=SplitList(),
    multiple=True,
    help="Names of the patches of train, validation or test; those on no list are left out. "
    "Repeatable.",
)
@click.option("--skip-damaged", is_flag=True, help="Leave out patches that cannot be read.")
@click.option("--overwrite", is_flag=True, help="Replace an existing OUTPUT.")
def import_patches(
    archive: Path,
    output: Path,
    metadata: tuple[Path, ...],
    classes: str | None,
    exclude: tuple[Path, ...],
    splits: tuple[tuple[str, Path], ...],
    skip_damaged: bool,
    overwrite: bool,
) -> None:
    """Make the store OUTPUT.h5 of a published ARCHIVE.

    ARCHIVE is an unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2. A run that
    was killed goes on where it was.
    """
    if len(dict(splits)) < len(splits):
        raise click.BadParameter("a split is given twice", param_hint="--split")
    with progress_of(f"importing {archive.name}", "patches", "patches") as progress:
        result = api.import_patches(
            archive,
            output,
            metadata=metadata,
            classes=int(classes) if classes else None,
            exclude=exclude,
            splits=dict(splits),
            skip_damaged=skip_damaged,
            overwrite=overwrite,
            progress=progress,
        )
    log.info("wrote %s: %d patches", result.path, result.patches)
