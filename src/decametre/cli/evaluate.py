"""`decametre evaluate`: scores at degraded scale, where truth exists, and indices at full scale."""

from __future__ import annotations

import click

import decametre
from decametre.cli.options import json_option, options
from decametre.superres.evaluation.options import EvaluateOptions


@click.command()
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@options(EvaluateOptions)
@json_option
def evaluate(products: tuple[str, ...], options: EvaluateOptions, as_json: bool) -> None:
    """Score models and bicubic interpolation on PRODUCTs by Wald's protocol.

    Every band is degraded by the kernel, each model brings the coarsest bands back to the grid on
    which they were measured, and all are scored on the same measured pixels: RMSE, SRE, SAM, ERGAS,
    SSIM, PSNR and UIQ. The scores are not the error at 10 m.
    """
    result = decametre.evaluate(products, options=options)
    from decametre.superres.evaluation import tables

    click.echo(tables.json_text(result) if as_json else tables.text(result))
