"""`decametre fleet plan`: the required size of a fleet."""

from __future__ import annotations

import json

import click

from decametre.cli.options import json_option, options
from decametre.fleet.options import FleetPlanOptions


@click.command()
@click.argument("products", type=click.IntRange(min=1), metavar="N")
@options(FleetPlanOptions)
@json_option
def plan(products: int, options: FleetPlanOptions, as_json: bool) -> None:
    """Estimate how many workers, and how much bandwidth, N full products per day need.

    A full product has 10980 x 10980 pixels. For the complete archive, N is some 23 TB per day
    divided by the size of your products.
    """
    from decametre.fleet.plan import CapacityPlan, ProductCost, measured_plans

    bytes_in = None if options.input_gb is None else options.input_gb * 1e9
    bytes_out = None if options.output_gb is None else options.output_gb * 1e9
    threads, gpus, seconds = options.threads, options.gpus, options.seconds
    if options.measured is not None:
        if seconds or threads is not None or gpus is not None:
            raise click.UsageError(
                "--measured provides seconds, threads and GPUs; omit --seconds, --threads, --gpus"
            )
        plans = measured_plans(products, options.utilisation, options.measured, bytes_in, bytes_out)
    elif seconds:
        cost = ProductCost(
            None, threads or 1, gpus or 0, seconds, bytes_in=bytes_in, bytes_out=bytes_out
        )
        plans = [CapacityPlan(products, options.utilisation, cost, "times given as options")]
    else:
        raise click.UsageError(
            "the time per product is missing; run `decametre fleet sharpen PRODUCTS OUT` and "
            "give --measured OUT, or give times such as --seconds compute=240 --seconds encode=50"
        )
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in plans], indent=2))
    else:
        click.echo("\n\n".join(one.text() for one in plans))
