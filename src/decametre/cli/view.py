"""`decametre view`: show results on a local map."""

from __future__ import annotations

import logging
import webbrowser

import click

import decametre
from decametre.cli.options import options
from decametre.viewer.options import ViewOptions

log = logging.getLogger(__name__)


@click.command()
@click.argument("result", metavar="RESULT")
@click.argument("before", metavar="[BEFORE]", required=False)
@options(ViewOptions)
@click.option(
    "--browser/--no-browser",
    default=True,
    show_default=True,
    help="Open the page in the browser. Its address is printed in either case.",
)
def view(result: str, before: str | None, options: ViewOptions, browser: bool) -> None:
    """Show RESULT on a local map, next to BEFORE.

    RESULT is a GeoTIFF, the STAC item of a result, or the folder of a fleet. BEFORE is a product or
    a GeoTIFF; by default the product that the item of RESULT names, if it is a local file. The
    page can be opened from this machine only. Ctrl-C ends the viewer.
    """
    with decametre.view(result, before, options=options) as viewer:
        click.echo(viewer.url)
        if browser:
            webbrowser.open(viewer.url)
        log.info("press Ctrl-C to end the viewer")
        try:
            viewer.wait()
        except KeyboardInterrupt:
            log.info("viewer ended")
