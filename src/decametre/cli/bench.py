"""`decametre bench`: speed, measured here and now."""

from __future__ import annotations

import json
import logging
import os
import shlex
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from decametre.bench import sharpen as sharpen_bench
from decametre.cli.arguments import product_argument
from decametre.cli.recipe_arguments import recipe_arguments, recipe_options
from decametre.inference.pipeline import DEFAULT_TILE


def cache_folder() -> Path:
    """Where made products are kept: $XDG_CACHE_HOME/decametre."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decametre" / "bench"


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Whole numbers from 1, between commas."""

    name = "N,N..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to numbers."""
        parts = str(value).split(",")
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"'{value}' is not a list of numbers such as 1,2,4", param, ctx)
        return [int(part) for part in parts]


@click.group()
def bench() -> None:
    """Measure throughput on products of full size."""


@bench.command()
@product_argument
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=cache_folder,
    help="Where the made product is kept.",
)
@click.option(
    "--size",
    type=click.IntRange(min=720),
    default=sharpen_bench.FULL_SIZE,
    show_default=True,
    help="Rows and columns at 10 m, a multiple of 6.",
)
@click.option(
    "--tile",
    type=click.IntRange(min=60),
    default=DEFAULT_TILE,
    show_default=True,
    help="Edge in 10 m pixels of what is computed at once.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def sharpen(product: str, cache: Path, size: int, tile: int, as_json: bool) -> None:
    """Sharpen a full tile made by mirroring PRODUCT, and measure each stage.

    The tile is made once and kept; it takes about 1 GB, and the run 6 GB more.
    """
    if size % 6:
        raise click.BadParameter(f"{size} is no multiple of 6", param_hint="--size")
    report = sharpen_bench.run(product, cache, size, tile)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
@recipe_arguments
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Batches that each measurement takes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def train(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    steps: int,
    as_json: bool,
) -> None:
    """Time drawing patches for RECIPE alone, its optimizer steps alone, and both together."""
    from decametre.bench import train as train_bench
    from decametre.training.recipe import read_recipe

    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    report = train_bench.run(checked, steps, device, precision)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@recipe_options
@click.option(
    "--ranks",
    type=Numbers(),
    default="1,2",
    show_default=True,
    help="How many processes to start here; one is always measured. Under torchrun or srun none is "
    "started, and this is of no effect.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Steps that each measurement takes.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each measurement is taken, numbers of ranks in turn.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Of the model: microseconds of a hop from rank to rank.",
)
@click.option(
    "--bandwidth",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Of the model: GB/s of each link.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(min=0, max=1),
    default=0.5,
    show_default=True,
    help="Of the model: share of the exchange that can run during back-propagation.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to add to measured.csv, and to write tables and figure of all that is in it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def scaling(
    recipes: tuple[str, ...],
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    ranks: list[int],
    steps: int,
    repeat: int,
    latency: float,
    bandwidth: float,
    overlap: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure how much faster the training of each RECIPE is on more ranks.

    Weak scaling: each rank takes the recipe's batch. Strong scaling: the ranks share it. What 4 to
    1024 ranks would do is told by a model, from the speed of one and the options of an
    interconnect; it is marked as such everywhere.
    """
    from decametre.bench import scaling as scaling_bench
    from decametre.bench.scaling_model import Interconnect
    from decametre.bench.scaling_output import write_report
    from decametre.bench.scaling_report import Report
    from decametre.training.launcher import place_of
    from decametre.training.recipe import read_recipe

    checked = [read_recipe(name, dict(settings), train_on, validate_on) for name in recipes]
    place = place_of()
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as chosen:
        folder = Path(chosen)
        if place.address:
            if place.rank:
                logging.getLogger("decametre").setLevel(logging.ERROR)
            scaling_bench.measure_here(checked, folder, place, device, precision, steps, repeat)
        else:
            words = [*recipes, "--device", device, "--steps", str(steps), "--repeat", "1"]
            words += ["--precision", scaling_bench.settle(precision, device)]
            words += recipe_words(train_on, validate_on, settings)
            scaling_bench.measure_in_turn(sorted({1, *ranks}), repeat, folder, words)
        if place.rank:
            return
        interconnect = Interconnect(latency * 1e-6, bandwidth * 1e9, overlap)
        report = Report(scaling_bench.read_measurements(folder), interconnect)
        write_report(report, folder)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
@recipe_arguments
@click.option(
    "--ranks",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    help="How many processes to start here. Under torchrun or srun none is started, and this is of "
    "no effect.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Steps that are traced.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to write the report, a figure of one step, and the trace of rank 0 for "
    "chrome://tracing or ui.perfetto.dev.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def overlap(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    ranks: int,
    steps: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Trace how much of the exchange of gradients of RECIPE runs during back-propagation.

    The recipe's batch is shared in equal parts. Profiling costs time: for throughput, see `bench
    scaling`.
    """
    from decametre.bench import overlap as overlap_bench
    from decametre.bench.overlap_output import read_report
    from decametre.bench.scaling import settle, start_ranks
    from decametre.training.launcher import place_of
    from decametre.training.recipe import read_recipe

    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    place = place_of()
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as chosen:
        folder = Path(chosen)
        if place.address:
            overlap_bench.measure_here(checked, folder, place, device, precision, steps)
        else:
            overlap_bench.check_writable(folder)
            words = ["overlap", recipe, "--device", device, "--steps", str(steps)]
            words += ["--precision", settle(precision, device), "--out", str(folder)]
            start_ranks(ranks, words + recipe_words(train_on, validate_on, settings))
        if place.rank:
            return
        report = read_report(folder)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
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
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def balance(
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
    from decametre.bench import balance as balance_bench
    from decametre.bench.balance_output import check_writable, write_report
    from decametre.bench.balance_report import Report
    from decametre.bench.scaling import settle
    from decametre.training.recipe import read_recipe

    if device not in ("auto", "cpu"):
        raise click.BadParameter(f"{device}: ranks are slowed on processors", param_hint="--device")
    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    if out:
        check_writable(out)
    found = settle(precision, "cpu")
    words = [
        "decametre",
        "bench",
        "balance",
        recipe,
        *recipe_words(train_on, validate_on, settings),
    ]
    words += ["--precision", found, "--steps", str(steps), "--repeat", str(repeat)]
    with tempfile.TemporaryDirectory() as scratch:
        measured, change = balance_bench.run(
            checked, sorted(set(ratios)), steps, repeat, found, Path(scratch)
        )
    report = Report(
        checked.name,
        balance_bench.hardware(found),
        steps,
        measured,
        change,
        shlex.join(words),
    )
    if out:
        write_report(report, out)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
@product_argument
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=cache_folder,
    help="Where the made product and its sharpened tile are kept.",
)
@click.option(
    "--size",
    type=click.IntRange(min=720),
    default=sharpen_bench.FULL_SIZE,
    show_default=True,
    help="Rows and columns at 10 m, a multiple of 6.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Processes that cut patches.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def patches(product: str, cache: Path, size: int, workers: int, as_json: bool) -> None:
    """Cut patches from a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB, and the run 5 GB more.
    """
    from decametre.bench import patches as patches_bench

    if size % 6:
        raise click.BadParameter(f"{size} is no multiple of 6", param_hint="--size")
    report = patches_bench.run(product, cache, size, workers)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


def recipe_words(
    train_on: Iterable[str], validate_on: Iterable[str], settings: Iterable[tuple[str, Any]]
) -> list[str]:
    """A recipe's options as words of a command line."""
    words = []
    for option, values in (("--train", train_on), ("--validation", validate_on)):
        words += [word for value in values for word in (option, value)]
    for key, value in settings:
        words += ["--set", f"{key}={json.dumps(value)}"]
    return words


@bench.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where to make the stores, 0.5 MB a patch; the system's temporary folder without.",
)
@click.option(
    "--patches",
    type=click.IntRange(min=4),
    default=4096,
    show_default=True,
    help="Made patches in each store; all are to fit into memory.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Patches read at once.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def stores(folder: Path | None, patches: int, batch: int, as_json: bool) -> None:
    """Measure how fast stores of patches are read at random, beside an LMDB."""
    from decametre.bench import stores as stores_bench

    with tempfile.TemporaryDirectory(dir=folder) as made:
        report = stores_bench.run(Path(made), patches, batch, -(-patches // batch))
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
