"""`decametre fleet sharpen`: bring many products to 10 m."""

from __future__ import annotations

from pathlib import Path

import click

import decametre
from decametre.cli.fleet.inputs import input_argument, out_argument, read_entries
from decametre.cli.fleet.running import log_outcome, progress_bar
from decametre.cli.options import options
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.options import FleetOptions
from decametre.superres.sharpening.options import SharpenOptions


@click.command()
@input_argument
@out_argument
@options(SearchOptions, into="terms")
@options(SharpenOptions, into="job", exclude=SharpenOptions.single_job)
@options(FleetOptions)
def sharpen(
    source: str | None,
    out: Path,
    terms: SearchOptions,
    job: SharpenOptions,
    options: FleetOptions,
) -> None:
    """Bring many products to a resolution of 10 m, each into its own folder in OUT.

    INPUT is a text or CSV file that lists products, a folder of products, or a STAC ItemCollection
    or catalog. Completed products are skipped: the same command resumes an interrupted run.
    """
    entries = read_entries(source, terms, out)
    with progress_bar("sharpening") as notify:
        result = decametre.fleet_sharpen(entries, out, job=job, options=options, notify=notify)
    log_outcome(result, out)
