"""`decametre bench balance`: ranks of unequal speed."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Any

import click

from decametre.cli.bench.options import (
    Numbers,
    json_option,
    recipe_words,
    show,
)
from decametre.cli.recipe_arguments import recipe_arguments


@click.command("balance")
@recipe_arguments
@click.option(
    "--ratios",
    type=Numbers(),
    default="1,2,4",
    show_default=True,
    help="How many times faster the first rank is; the second shares its core with as many "
    "processes, itself with them.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=4),
    default=12,
    show_default=True,
    help="Steps that each measurement takes.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each measurement is taken, ratios in turn.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to write tables and figure.",
)
@json_option
def balance_bench(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    ratios: list[int],
    steps: int,
    repeat: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure how near two ranks of unequal speed come to the sum of what both do alone.

    Each trains RECIPE on one processor core; other processes compute on that of the second.
    """
    import torch

    from decametre.bench import balance as measuring
    from decametre.bench.balance_output import check_writable, write_report
    from decametre.bench.balance_report import BalanceReport
    from decametre.bench.hardware import describe_hardware, resolve_precision
    from decametre.recipes.reading import read_recipe

    if device not in ("auto", "cpu"):
        raise click.BadParameter(f"{device}: ranks are slowed on processors", param_hint="--device")
    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    if out:
        check_writable(out)
    found = resolve_precision(precision, "cpu")
    words = [
        "decametre",
        "bench",
        "balance",
        recipe,
        *recipe_words(train_on, validate_on, settings),
    ]
    words += ["--precision", found, "--steps", str(steps), "--repeat", str(repeat)]
    with tempfile.TemporaryDirectory() as scratch:
        measured, change = measuring.run(
            checked, sorted(set(ratios)), steps, repeat, found, Path(scratch)
        )
    report = BalanceReport(
        checked.name,
        describe_hardware(torch.device("cpu"), found, threads=1),
        steps,
        measured,
        change,
        shlex.join(words),
    )
    if out:
        write_report(report, out)
    show(report, as_json)
