"""`decametre fleet report`: what has a fleet done, as a page."""

from __future__ import annotations

import logging
from pathlib import Path

import click

log = logging.getLogger(__name__)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Where to write the page.  [default: report.html in OUT]",
)
def report(out: Path, output: Path | None) -> None:
    """Write a page about all that a fleet did in the folder OUT, in place of an earlier one.

    What each worker did when, throughput, time by stage, failures, consistency residuals with
    outliers named, pictures. The page stands by itself; it can be made while the fleet runs.
    """
    from decametre.fleet.report import write_report

    log.info("wrote %s", write_report(out, output))
