"""Options of a search for products."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from decametre.options import Names, Options, Text
from decametre.sentinel2.options import BoundingBox


def _on_earth(box: tuple[float, float, float, float] | None) -> Any:
    if box is None:
        return None
    west, south, east, north = box
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(
            f"{west:g},{south:g},{east:g},{north:g} is no box; give west and east from -180 to 180 "
            "degrees, south and north from -90 to 90, and south no more than north"
        )
    return box


class SearchOptions(Options):
    """A search of a STAC API for products."""

    search: Annotated[str | None, Text(metavar="URL")] = None
    """Search a STAC API in place of INPUT; needs `bbox` or `datetime`."""
    bbox: Annotated[BoundingBox, AfterValidator(_on_earth)] = None
    """For `search`: products that intersect this box, in degrees of longitude and latitude (WGS
    84). A box whose west is greater than its east crosses the antimeridian."""
    datetime: Annotated[str | None, Text(metavar="TIME[/TIME]")] = None
    """For `search`: acquired on this day, in this month or year, or in an interval such as
    2023-06/2023-08 or 2023-06-01/.."""
    cloud_cover: Annotated[float | None, Field(ge=0, le=100), Text(metavar="PERCENT")] = None
    """For `search`: cloud cover of at most this percentage; products that do not state theirs are
    skipped."""
    collections: Annotated[
        Names, Text(metavar="ID", flag="--collection", default="its Sentinel-2 Level-2A")
    ] = ()
    """For `search`: a collection of the API."""

    @model_validator(mode="after")
    def _needs_search(self) -> Self:
        if self.search is None and self.model_fields_set - {"search"}:
            raise ValueError("`bbox`, `datetime`, `cloud_cover` and `collections` need `search`")
        if self.search is not None and self.bbox is None and self.datetime is None:
            raise ValueError("`search` needs `bbox` or `datetime`, or it finds the whole archive")
        return self
