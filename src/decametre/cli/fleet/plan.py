"""`decametre fleet plan`: how large must a fleet be?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from decametre.cli.arguments import FiniteRange
from decametre.fleet.plan import Cost, Plan, measured_plans


class StageSeconds(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A stage and its seconds."""

    name = "STAGE=SECONDS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Text to a pair."""
        stage, _, number = str(value).partition("=")
        try:
            seconds = float(number)
        except ValueError:
            seconds = 0.0
        if not (stage and 0 < seconds < float("inf")):
            self.fail(f"'{value}' is not a stage and its seconds such as compute=240", param, ctx)
        return stage, seconds


def _once(
    ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, float], ...]
) -> dict[str, float]:
    """Seconds by stage, each stage once."""
    stages = [stage for stage, _ in value]
    twice = next((stage for stage in stages if stages.count(stage) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{twice} has --seconds twice; give one time for each stage")
    return dict(value)


@click.command()
@click.argument("products", type=click.IntRange(min=1), metavar="N")
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Folder in which a fleet has run; its times are taken.",
)
@click.option(
    "--seconds",
    type=StageSeconds(),
    multiple=True,
    callback=_once,
    help="In place of --measured: what a full product takes in a stage of one worker; repeatable.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="With --seconds: processor threads of that worker.  [default: 1]",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    default=None,
    help="With --seconds: GPUs of that worker.  [default: 0]",
)
@click.option(
    "--input-gb",
    type=FiniteRange(min=0, min_open=True),
    help="GB that are read for a full product.  [default: as measured]",
)
@click.option(
    "--output-gb",
    type=FiniteRange(min=0, min_open=True),
    help="GB that are written for a full product.  [default: as measured]",
)
@click.option(
    "--utilisation",
    type=FiniteRange(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Part of the day in which workers are at work; queues, faults and pauses take the rest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def plan(
    products: int,
    measured: Path | None,
    seconds: dict[str, float],
    threads: int | None,
    gpus: int | None,
    input_gb: float | None,
    output_gb: float | None,
    utilisation: float,
    as_json: bool,
) -> None:
    """Say how many workers, and how much bandwidth, N full products a day need.

    A full product has 10980 x 10980 pixels. Sentinel-2 produces some 23 TB a day: divided by the
    size of your products, that is the N of the whole archive.
    """
    bytes_in = None if input_gb is None else input_gb * 1e9
    bytes_out = None if output_gb is None else output_gb * 1e9
    if measured is not None:
        if seconds or threads is not None or gpus is not None:
            raise click.UsageError(
                "--measured knows seconds, threads and GPUs; leave out --seconds, --threads, --gpus"
            )
        plans = measured_plans(products, utilisation, measured, bytes_in, bytes_out)
    elif seconds:
        cost = Cost(None, threads or 1, gpus or 0, seconds, bytes_in=bytes_in, bytes_out=bytes_out)
        plans = [Plan(products, utilisation, cost, "times as given")]
    else:
        raise click.UsageError(
            "nothing says how long a product takes; run `decametre fleet sharpen PRODUCTS OUT` and "
            "give --measured OUT, or give times such as --seconds compute=240 --seconds encode=50"
        )
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in plans], indent=2))
    else:
        click.echo("\n\n".join(one.text() for one in plans))
