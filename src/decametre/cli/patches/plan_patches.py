"""`decametre patches plan`: who would cut how many patches."""

from __future__ import annotations

import json
from pathlib import Path

import click

from decametre import api


@click.command("plan")
@click.argument("patches", type=click.Path(path_type=Path), metavar="LIST")
@click.option("--workers", type=click.IntRange(min=1), required=True, help="How many there are.")
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="LIST",
    help="Leave out the patches of a list. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def plan_patches(patches: Path, workers: int, exclude: tuple[Path, ...], as_json: bool) -> None:
    """Spread the patches of LIST over workers by every method, the best first.

    The imbalance is the largest share over the mean share. `extract` takes the first method.
    """
    plans = api.plan_patches(patches, workers=workers, exclude=exclude)
    if as_json:
        found = [
            {
                "method": plan.method,
                "imbalance": plan.imbalance,
                "shares": [
                    {
                        "patches": count,
                        "pieces": [[piece.product, piece.start, piece.stop] for piece in share],
                    }
                    for count, share in zip(plan.counts, plan.shares, strict=True)
                ],
            }
            for plan in plans
        ]
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{sum(plans[0].counts):,} patches, {workers} workers")
    click.echo(f"{'method':<16} {'imbalance':>9} {'smallest':>9} {'largest':>9}")
    for plan in plans:
        click.echo(
            f"{plan.method:<16} {plan.imbalance:>9.4f} {min(plan.counts):>9,} "
            f"{max(plan.counts):>9,}"
        )
    click.echo(f"shares by {plans[0].method}:")
    for worker, (count, share) in enumerate(zip(plans[0].counts, plans[0].shares, strict=True)):
        names = ", ".join(str(piece) for piece in share)
        click.echo(f"{worker:>6} {count:>9,}  {names or 'nothing'}")
