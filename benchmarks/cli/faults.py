"""`python -m benchmarks faults`: training whose ranks are killed and stopped."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("faults")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--runs", default=6, show_default=True, help="Runs, with 2, 3 and 4 ranks in turn.")
@click.option("--steps", default=1000, show_default=True, help="Steps of each run.")
@click.option("--faults", default=4, show_default=True, help="Faults in each run.")
@click.option(
    "--on-failure",
    type=click.Choice(["continue", "restart"]),
    default="continue",
    show_default=True,
)
@click.option("--seed", default=0, show_default=True)
def faults_bench(
    folder: Path, runs: int, steps: int, faults: int, on_failure: str, seed: int
) -> None:
    """Train in FOLDER while ranks get SIGKILL and SIGSTOP at random moments."""
    from benchmarks import faults as measuring

    results = measuring.measure(folder, runs, steps, faults, on_failure, seed)
    click.echo(measuring.table(results))
