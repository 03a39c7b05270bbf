"""`decametre patches plan`: how patches would be distributed over workers."""

from __future__ import annotations

import json
from pathlib import Path

import click

import decametre
from decametre.cli.options import json_option, options
from decametre.landcover.extraction.options import PlanPatchesOptions
from decametre.text import counted


@click.command("plan")
@click.argument("patches", type=click.Path(path_type=Path), metavar="LIST")
@options(PlanPatchesOptions)
@json_option
def plan_patches(patches: Path, options: PlanPatchesOptions, as_json: bool) -> None:
    """Distribute the patches of LIST over workers by every method, the best first.

    The imbalance is the largest share divided by the mean share. `extract` uses the first method.
    """
    plans = decametre.plan_patches(patches, options=options)
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
    click.echo(f"{counted(sum(plans[0].counts), 'patch')}, {counted(options.workers, 'worker')}")
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
