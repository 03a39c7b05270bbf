"""`python -m benchmarks gpu`: all GPU measurements in one run of limited time."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.bench.options import CacheOptions
from decametre.cli.options import options


@click.command("gpu")
@click.argument("product")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--size", default=5490, show_default=True, help="Rows and columns of the tile.")
@click.option("--seconds", default=540.0, show_default=True, help="Time of the complete check.")
@options(CacheOptions)
def gpu_bench(product: str, out: Path, size: int, seconds: float, options: CacheOptions) -> None:
    """Measure tests, networks, sharpening and training on a GPU; results go to OUT.

    PRODUCT, such as the sample, is mirrored to a tile, and networks are trained on it. The results
    are written to OUT/results.jsonl and OUT/gpu.md after every part.
    """
    from benchmarks import gpu_check

    parts = gpu_check.parts_for(product, options.folder, size, out)
    gpu_check.check(parts, out, gpu_check.run_part, seconds)
    click.echo(f"wrote {out / 'gpu.md'}")
