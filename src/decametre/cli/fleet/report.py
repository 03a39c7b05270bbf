"""`decametre fleet report`: a report of a fleet's work."""

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
    """Write a report of all runs of a fleet in the folder OUT; it replaces an earlier report.

    It shows the work of each worker over time, throughput, time by stage, failures, consistency
    residuals with the names of outliers, and pictures. The report is one HTML file without
    external resources; it can be written while the fleet runs.
    """
    from decametre.fleet.report import write_report

    log.info("wrote %s", write_report(out, options.output))
