"""`decametre fleet predict`: map the land cover of many products."""

from __future__ import annotations

from pathlib import Path

import click

import decametre
from decametre.cli.fleet.inputs import input_argument, out_argument, read_entries
from decametre.cli.fleet.running import log_outcome, progress_bar
from decametre.cli.options import options
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.options import FleetOptions
from decametre.landcover.mapping.options import PredictOptions


@click.command()
@input_argument
@out_argument
@options(SearchOptions, into="terms")
@options(PredictOptions, into="job", exclude=PredictOptions.single_job)
@options(FleetOptions)
def predict(
    source: str | None,
    out: Path,
    terms: SearchOptions,
    job: PredictOptions,
    options: FleetOptions,
) -> None:
    """Map the land cover of many products, each into its own folder in OUT.

    INPUT is as for `decametre fleet sharpen`.
    """
    entries = read_entries(source, terms, out)
    with progress_bar("classifying") as notify:
        result = decametre.fleet_predict(entries, out, job=job, options=options, notify=notify)
    log_outcome(result, out)
