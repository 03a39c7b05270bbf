"""`decametre fleet report`: a page about the work of a fleet."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre.cli.fleet.inputs import out_argument
from decametre.cli.options import options
from decametre.fleet.options import FleetReportOptions

log = logging.getLogger(__name__)


@click.command()
@out_argument
@options(FleetReportOptions)
def report(out: Path, options: FleetReportOptions) -> None:
    """Write a page about all that a fleet did in the folder OUT, in place of an earlier one.

    It shows the work of each worker over time, throughput, time by stage, failures, consistency
    residuals with the outliers by name, and pictures. The page is one file without external
    resources; it can be written while the fleet runs.
    """
    from decametre.fleet.report import write_report

    log.info("wrote %s", write_report(out, options.output))
