"""INPUT and the options of a search, for the verbs of a fleet: what is to be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from decametre.cli.arguments import NumberList
from decametre.fleet.entry import Entry
from decametre.fleet.listing import read_listing
from decametre.fleet.search import search as search_api


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
        type=click.FloatRange(0, 100),
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


def input_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """INPUT and the options of a search; what `read_entries` takes."""
    for decorate in reversed(INPUTS):
        command = decorate(command)
    return command


def read_entries(
    items_folder: Path,
    *,
    source: str | None,
    search: str | None,
    bbox: tuple[float, float, float, float] | None,
    datetime: str | None,
    cloud_cover: float | None,
    collections: tuple[str, ...],
) -> list[Entry]:
    """The products of INPUT, or of a search.

    Args:
        items_folder: Where items that have no address of their own are kept.
        source: INPUT.
        search: Address of a STAC API.
        bbox: Of the search, as all that follow.
        datetime: Day, month, year, or an interval.
        cloud_cover: Percent.
        collections: Ids.

    Raises:
        click.UsageError: Neither INPUT nor --search, both, or options of a search without one.
        DecametreError: As `read_listing` and `search`.
    """
    if (source is None) == (search is None):
        raise click.UsageError("give INPUT or --search URL, one of the two")
    if search is not None:
        return search_api(
            search,
            items_folder,
            bbox=bbox,
            datetime=datetime,
            cloud_cover=cloud_cover,
            collections=collections,
        )
    if bbox or datetime or cloud_cover is not None or collections:
        raise click.UsageError("--bbox, --datetime, --cloud-cover and --collection need --search")
    assert source is not None
    return read_listing(source, items_folder)
