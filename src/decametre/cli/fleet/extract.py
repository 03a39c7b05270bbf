"""`decametre fleet extract`: cut patches from many products."""

from __future__ import annotations

from pathlib import Path

import click

import decametre
from decametre.cli.fleet.inputs import input_argument, out_argument, read_entries
from decametre.cli.fleet.running import log_outcome, progress_bar
from decametre.cli.options import options
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.options import FleetOptions, FleetTiles
from decametre.landcover.extraction.options import ExtractOptions


@click.command()
@input_argument
@out_argument
@options(SearchOptions, into="terms")
@options(FleetTiles, into="tiles")
@options(ExtractOptions, into="job", exclude=ExtractOptions.single_job)
@options(FleetOptions)
def extract(
    source: str | None,
    out: Path,
    terms: SearchOptions,
    tiles: FleetTiles,
    job: ExtractOptions,
    options: FleetOptions,
) -> None:
    """Cut patches of 1200 m from many products, into one store per product in folders of OUT.

    INPUT is as for `decametre fleet sharpen`. `decametre patches merge OUT/*/*.h5 ALL.h5` combines
    the stores into one.
    """
    entries = read_entries(source, terms, out)
    with progress_bar("extracting") as notify:
        result = decametre.fleet_extract(
            entries, out, job=job, sharpened=tiles.sharpened, options=options, notify=notify
        )
    log_outcome(result, out)
