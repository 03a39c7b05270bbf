"""INPUT and the options of a search, for the verbs of a fleet: what is to be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decametre.cli.arguments import FiniteRange, NumberList, together
from decametre.fleet.inputs.product_entry import FOLDER, Entry
from decametre.fleet.inputs.product_list import read_listing
from decametre.fleet.inputs.search import search


def _one(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    """One or none. An argument that may be missing can stand before OUT only as one of many."""
    if len(value) > 1:
        raise click.UsageError(
            f"{len(value)} INPUTs; give one: a folder of products, or a text file that names them"
        )
    return value[0] if value else None


INPUTS = (
    click.argument("source", metavar="[INPUT]", nargs=-1, callback=_one),
    click.option(
        "--search",
        metavar="URL",
        help="Search a STAC API in place of INPUT; needs --bbox or --datetime.",
    ),
    click.option(
        "--bbox",
        type=NumberList("WEST,SOUTH,EAST,NORTH", float),
        help="Of --search: products that meet this box, in degrees.",
    ),
    click.option(
        "--datetime",
        metavar="TIME[/TIME]",
        help="Of --search: sensed in this day, month or year, or from one to another, such as "
        "2023-06/2023-08 or 2023-06-01/..",
    ),
    click.option(
        "--cloud-cover",
        type=FiniteRange(0, 100),
        metavar="PERCENT",
        help="Of --search: no more cloud than this.",
    ),
    click.option(
        "--collection",
        "collections",
        multiple=True,
        metavar="ID",
        help="Of --search: collection of the API; repeatable.  [default: its Sentinel-2 Level-2A]",
    ),
)


input_arguments = together(*INPUTS)
"""INPUT and the options of a search."""


def take_entries(given: dict[str, Any], out: Path) -> list[Entry]:
    """The products of INPUT, or of a search.

    Args:
        given: The values of a command, from which those of `input_arguments` are taken out.
        out: The folder of results, which keeps items that have no address of their own.

    Raises:
        click.UsageError: Neither INPUT nor --search, both, or options of a search without one.
        DecametreError: As `read_listing` and `search`.
    """
    source, url = given.pop("source"), given.pop("search")
    asked = {name: given.pop(name) for name in ("bbox", "datetime", "cloud_cover", "collections")}
    folder = out / FOLDER / "items"
    if (source is None) == (url is None):
        raise click.UsageError("give INPUT or --search URL, one of the two")
    if url is not None:
        return search(url, folder, **asked)
    if any(value not in (None, ()) for value in asked.values()):
        raise click.UsageError("--bbox, --datetime, --cloud-cover and --collection need --search")
    return read_listing(source, folder)
