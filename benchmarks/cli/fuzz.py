"""`python -m benchmarks fuzz`: mutated inputs of everything that decametre reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import click


@click.command("fuzz")
@click.argument("names", nargs=-1, metavar="[TARGET]...")
@click.option("--count", default=10_000, show_default=True, help="Inputs for each target.")
@click.option("--first", default=0, help="Number of the first input.")
@click.option("--seed", default=0, help="Another seed makes other inputs.")
@click.option("--processes", default=2, show_default=True, help="Targets at a time.")
def fuzz_bench(names: tuple[str, ...], count: int, first: int, seed: int, processes: int) -> None:
    """Read mutated inputs; each must be accepted, or refused in one line.

    TARGET is a row of the table, such as jp2; by default all are tried. The exit status is 1 if
    there was a fault: another exception, a crash, a hang, 5 s of CPU time, or 1 GB of memory.
    """
    from benchmarks.fuzzing import fuzz
    from benchmarks.fuzzing.targets import TARGETS

    unknown = sorted(set(names) - TARGETS.keys())
    if unknown:
        raise click.UsageError(f"no target {', '.join(unknown)}; known: {', '.join(TARGETS)}")

    def run(name: str) -> fuzz.Score:
        score = fuzz.fuzz(name, count, seed, first)
        click.echo(f"{name}: {dict(score.outcomes)}", err=True)
        for number, outcome, message in score.faults[:20]:
            click.echo(f"  {name} {number}: {outcome}: {message}", err=True)
        return score

    with ThreadPoolExecutor(processes) as pool:
        scores = list(pool.map(run, names or TARGETS))
    click.echo(fuzz.table(scores))
    if any(score.faults for score in scores):
        raise SystemExit(1)
