"""`decametre fleet sharpen`: many products brought to ten metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decametre import api
from decametre.cli.fleet.inputs import input_arguments, take_entries
from decametre.cli.fleet.running import conclude, running_options, shown, take_options
from decametre.cli.sharpening_options import sharpening_options


@click.command()
@input_arguments
@click.argument("out", type=click.Path(path_type=Path))
@sharpening_options
@running_options
def sharpen(out: Path, bands: str, **given: Any) -> None:
    """Bring many products to ten metres, each into a folder of its own in OUT.

    INPUT is a text or CSV file that lists products, a folder of products, or a STAC ItemCollection
    or catalog. What is done already is left out: the same command goes on with an interrupted run.
    """
    entries, options = take_entries(given, out), take_options(given)
    with shown("sharpening") as notify:
        result = api.fleet_sharpen(
            entries, out, bands=bands.split(","), options=options, notify=notify, **given
        )
    conclude(result, out)
