"""`decametre bench balance`: ranks of unequal speed."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import click

from decametre.bench.options import BalanceBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options
from decametre.options import words_of


@click.command("balance")
@click.argument("recipe", metavar="RECIPE")
@options(BalanceBenchOptions)
@json_option
def balance_bench(recipe: str, options: BalanceBenchOptions, as_json: bool) -> None:
    """Measure how near two ranks of unequal speed come to the sum of what both do alone.

    Each trains RECIPE on one processor core; other processes compute on that of the second.
    """
    import torch

    from decametre.bench import balance as measuring
    from decametre.bench.balance_output import check_writable, write_report
    from decametre.bench.balance_report import BalanceReport
    from decametre.bench.hardware import describe_hardware, resolve_precision
    from decametre.recipes.reading import read_recipe

    if options.device not in ("auto", "cpu"):
        raise click.BadParameter(
            f"{options.device}: ranks are slowed down on CPUs", param_hint="--device"
        )
    checked = read_recipe(recipe, options.settings, options.train, options.validation)
    if options.out:
        check_writable(options.out)
    precision = resolve_precision(options.precision, "cpu")
    repeated = options.replaced(precision=precision)
    words = words_of(repeated, always=("steps", "repeat"), exclude=("device", "ratios", "out"))
    with tempfile.TemporaryDirectory() as scratch:
        measured, change = measuring.run(
            checked,
            sorted(set(options.ratios)),
            options.steps,
            options.repeat,
            precision,
            Path(scratch),
        )
    report = BalanceReport(
        checked.name,
        describe_hardware(torch.device("cpu"), precision, threads=1),
        options.steps,
        measured,
        change,
        shlex.join(["decametre", "bench", "balance", recipe, *words]),
    )
    if options.out:
        write_report(report, options.out)
    show(report, as_json)
