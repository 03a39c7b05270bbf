"""INPUT, or a search in its place, for the verbs of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from decametre.fleet.options import SearchOptions

if TYPE_CHECKING:
    from decametre.fleet.inputs.product_entry import ProductEntry


def _at_most_one(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    """One or none: click allows an optional argument before OUT only as one of any number."""
    if len(value) > 1:
        raise click.UsageError(
            f"{len(value)} INPUTs; give one: a folder of products, or a text file that names them"
        )
    return value[0] if value else None


input_argument = click.argument("source", metavar="[INPUT]", nargs=-1, callback=_at_most_one)
out_argument = click.argument("out", type=click.Path(path_type=Path))


def entries_of(source: str | None, terms: SearchOptions, out: Path) -> list[ProductEntry]:
    """The products of INPUT, or of a search.

    Args:
        source: INPUT.
        terms: Of a search.
        out: The folder of results, to which items without an address of their own are written.

    Raises:
        click.UsageError: There is neither INPUT nor a search, or both.
        DecametreError: As `read_listing` and `search`.
    """
    # Imported here: rasterio and pystac-client take long, which help does not need.
    from decametre.fleet.inputs.product_entry import FOLDER
    from decametre.fleet.inputs.product_list import read_listing
    from decametre.fleet.inputs.search import search

    folder = out / FOLDER / "items"
    if (source is None) == (terms.search is None):
        raise click.UsageError("give INPUT or --search URL, one of the two")
    if source is not None:
        return read_listing(source, folder)
    return search(
        str(terms.search),
        folder,
        bbox=terms.bbox,
        datetime=terms.datetime,
        cloud_cover=terms.cloud_cover,
        collections=terms.collections,
    )
