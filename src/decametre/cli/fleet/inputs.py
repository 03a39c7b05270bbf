"""The products of the fleet verbs: INPUT, or the results of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from decametre.fleet.inputs.options import SearchOptions

if TYPE_CHECKING:
    from decametre.fleet.inputs.product_entry import ProductEntry


def _at_most_one(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    """At most one INPUT: click allows an optional argument before OUT only if it repeats."""
    if len(value) > 1:
        raise click.UsageError(
            f"{len(value)} INPUTs; give one: a folder of products, or a text file that lists them"
        )
    return value[0] if value else None


input_argument = click.argument("source", metavar="[INPUT]", nargs=-1, callback=_at_most_one)
out_argument = click.argument("out", type=click.Path(path_type=Path))


def read_entries(source: str | None, terms: SearchOptions, out: Path) -> list[ProductEntry]:
    """The products of INPUT, or of a search.

    Args:
        source: INPUT.
        terms: Options of the search.
        out: The output folder, in which STAC items without an address are saved.

    Raises:
        click.UsageError: Both or neither of INPUT and search are given.
        DecametreError: See `read_listing` and `search`.
    """
    # Imported here, since --help does not need rasterio and pystac-client.
    from decametre.fleet.inputs.product_entry import FOLDER
    from decametre.fleet.inputs.product_list import read_listing
    from decametre.fleet.inputs.search import search

    folder = out / FOLDER / "items"
    if (source is None) == (terms.search is None):
        raise click.UsageError("give INPUT or --search URL, one of the two")
    if source is not None:
        return read_listing(source, folder)
    return search(terms, folder)
