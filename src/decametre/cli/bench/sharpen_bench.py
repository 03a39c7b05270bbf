"""`decametre bench sharpen`: speed of each stage of sharpening a full tile."""

from __future__ import annotations

import click

from decametre.bench.options import SharpenBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options, product_argument


@click.command("sharpen")
@product_argument
@options(SharpenBenchOptions)
@json_option
def sharpen_bench(product: str, options: SharpenBenchOptions, as_json: bool) -> None:
    """Sharpen a full tile made by mirroring PRODUCT, and measure each stage.

    The tile is made once and kept. It takes about 1 GB of disk space, and the run another 6 GB.
    """
    from decametre.bench import sharpen as measuring

    show(measuring.run(product, options.folder, options.size, options.tile), as_json)
