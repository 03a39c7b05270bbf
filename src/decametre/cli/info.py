"""`decametre info`: describe a product."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

import decametre
from decametre.cli.options import json_option, options, product_argument
from decametre.sentinel2.options import OpenOptions

if TYPE_CHECKING:
    from decametre.sentinel2.product import Product


def describe(product: Product) -> dict[str, Any]:
    """Description of a product, as JSON."""
    from decametre.sentinel2.offset_check import check_offset  # imports rasterio

    grid = product.grid
    return {
        "id": product.id,
        "level": product.level,
        "processing_baseline": product.baseline,
        "platform": product.platform,
        "datetime": product.datetime,
        "tile": product.tile,
        "offset": product.offset_reason,
        "offset_check": str(check_offset(product)),
        "grid": {
            "crs": grid.crs,
            "width": grid.width,
            "height": grid.height,
            "transform": list(grid.transform()),
            "bounds": list(grid.bounds),
            "bbox": [round(value, 6) for value in decametre.lonlat_bounds(product)],
        },
        "bands": {
            name: {
                "gsd": file.band.gsd,
                "scale": file.radiometry.scale,
                "offset_dn": file.radiometry.offset_dn,
                "nodata": file.radiometry.nodata,
                "saturated": file.radiometry.saturated,
                "path": file.path,
            }
            for name, file in product.bands.items()
        },
        "missing": dict(product.missing),
    }


@click.command()
@product_argument
@options(OpenOptions)
@click.option(
    "--mtf",
    is_flag=True,
    help="Also measure how much the 20 m and 60 m bands are blurred: the gain of their modulation "
    "transfer function at the Nyquist frequency. Reads pixels.",
)
@json_option
def info(product: str, options: OpenOptions, mtf: bool, as_json: bool) -> None:
    """Describe PRODUCT: level, baseline, offset, bands, grid, nodata."""
    opened = decametre.open(product, options=options)
    description = describe(opened)
    measured = decametre.measure_mtf(opened) if mtf else []
    if mtf:
        description["mtf_at_nyquist"] = {m.band: dataclasses.asdict(m) for m in measured}
    if as_json:
        click.echo(json.dumps(description, indent=2))
        return
    grid = description["grid"]
    rows = [
        ("product", description["id"]),
        ("level", description["level"]),
        ("processing baseline", description["processing_baseline"] or "not stated"),
        ("platform", description["platform"] or "not stated"),
        ("sensed", description["datetime"] or "not stated"),
        ("tile", description["tile"] or "not stated"),
        ("offset", description["offset"]),
        ("offset and pixels", description["offset_check"]),
        ("grid", f"{grid['width']} x {grid['height']} at 10 m, {grid['crs']}"),
        ("bbox", ", ".join(f"{value:.5f}" for value in grid["bbox"])),
    ]
    for label, value in rows:
        click.echo(f"{label:<20} {value}")
    click.echo(f"{'bands':<20} GSD  scale    offset  nodata  saturated")
    for name, band in description["bands"].items():
        click.echo(
            f"  {name:<18} {band['gsd']:>3}  {band['scale']:<7g} {band['offset_dn']:>7} "
            f"{band['nodata']:>7} {band['saturated']:>10}"
        )
    for name, where in description["missing"].items():
        click.echo(f"  {name:<18} missing: {where}")
    if mtf:
        click.echo("gain at the Nyquist frequency, measured against the 10 m bands")
    for m in measured:
        measured_gain = (
            f"{m.gain:.2f} ({m.low:.2f} to {m.high:.2f})"
            if m.gain is not None and m.low is not None and m.high is not None
            else "too few pixels to measure"
        )
        click.echo(f"  {m.band:<18} {measured_gain}, nominal {m.nominal:.2f}, {m.cells} squares")
