"""`decametre patches label`: label the pixels of a product by spectral rules."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options, product_argument
from decametre.landcover.extraction.options import LabelOptions

log = logging.getLogger(__name__)


@click.command("label")
@product_argument
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.tif")
@options(LabelOptions)
def label_patches(product: str, output: Path, options: LabelOptions) -> None:
    """Assign classes to the pixels of PRODUCT by spectral rules, for `extract --labels OUTPUT.tif`.

    Water, vegetation, bare ground, built-up and snow, by published indices and fixed thresholds.
    They serve to check whether a network learns at all; they are no ground truth.
    """
    with progress_of("labelling", "windows", "Mpixel") as progress:
        shares = decametre.label_product(product, output, options=options, progress=progress)
    log.info("wrote %s: %s", output, ", ".join(f"{n} {s:.1%}" for n, s in shares.items()))
