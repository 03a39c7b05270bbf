"""`decametre evaluate`: scores at degraded scale, where truth exists, and indices where not."""

from __future__ import annotations

from pathlib import Path

import click

from decametre import api
from decametre.choices import KERNELS
from decametre.cli.arguments import NumberList, offset_option
from decametre.sentinel2.grid import Window


@click.command()
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.option(
    "--scale",
    type=click.Choice(["2", "6"]),
    default="2",
    show_default=True,
    help="2: the 20 m bands, 40 to 20 m. 6: the 60 m bands, 360 to 60 m.",
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Model, family or model folder, repeatable; the default family without.",
)
@click.option(
    "--protocol",
    type=click.Choice(KERNELS),
    default="dsen2",
    show_default=True,
    help="Kernel that degrades the products.",
)
@click.option(
    "--window",
    type=NumberList("COL,ROW,WIDTH,HEIGHT", int),
    help="Part of every product in 10 m pixels; snapped outward to whole pixels of 60 m.",
)
@offset_option
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="auto: the first GPU of the machine, else the processor.",
)
@click.option(
    "--full-scale", is_flag=True, help="Also sharpen to 10 m: indices that need no truth."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write scores.json, scores.csv, scores.md and figures into this folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier evaluation in FOLDER.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def evaluate(
    products: tuple[str, ...],
    scale: str,
    model: tuple[str, ...],
    protocol: str,
    window: tuple[int, int, int, int] | None,
    offset: str,
    device: str,
    full_scale: bool,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score models on PRODUCTs by Wald's protocol, beside bicubic interpolation.

    Every band is made coarser by the kernel, each model brings the coarsest bands back to the grid
    on which they were measured, and all are scored on the same measured pixels: RMSE, SRE, SAM,
    ERGAS, SSIM, PSNR and UIQ. That is not the error at 10 m.
    """
    from decametre.superres.evaluation import tables

    result = api.evaluate(
        products,
        scale=int(scale),
        model=model,
        protocol=protocol,
        window=Window(*window) if window else None,
        offset=offset,
        device=device,
        full_scale=full_scale,
        out=out,
        overwrite=overwrite,
    )
    click.echo(tables.json_text(result) if as_json else tables.text(result))
