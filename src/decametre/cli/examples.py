"""`decametre examples`: job scripts and cluster files that come with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from decametre.errors import OutputError
from decametre.files import check_parent, examples_folder


@click.command()
@click.argument("output", type=click.Path(path_type=Path), metavar="[OUT]", required=False)
def examples(output: Path | None) -> None:
    """List the example files, or copy them to the folder OUT, which is created.

    They are job scripts for SLURM, cluster files of `fleet`, and chains from an archive to scores.
    """
    folder = examples_folder()
    if output is None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            click.echo(path.relative_to(folder))
        return
    check_parent(output, writable=True)
    if output.exists():
        raise OutputError(f"{output} exists already; give a new folder")
    shutil.copytree(folder, output)
    click.echo(f"wrote {output}")
