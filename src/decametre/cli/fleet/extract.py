"""`decametre fleet extract`: patches from many products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decametre import api
from decametre.cli.cutting_options import cutting_options
from decametre.cli.fleet.inputs import input_arguments, take_entries
from decametre.cli.fleet.running import conclude, running_options, shown, take_options


@click.command()
@input_arguments
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--sharpened",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The OUT of `decametre fleet sharpen` of the same products, for data_super.",
)
@cutting_options
@running_options
def extract(out: Path, classes: str | None, **given: Any) -> None:
    """Cut patches of 1200 m from many products, a store each, into folders in OUT.

    INPUT is as for `decametre fleet sharpen`. `decametre patches merge OUT/*/*.h5 ALL.h5` presents
    the stores as one.
    """
    entries, options = take_entries(given, out), take_options(given)
    with shown("extracting") as notify:
        result = api.fleet_extract(
            entries,
            out,
            classes=int(classes) if classes else None,
            options=options,
            notify=notify,
            **given,
        )
    conclude(result, out)
