"""The options of the viewer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from decametre.options import Accepts, Options, Text
from decametre.sentinel2.bands import parse_bands


def _band_names(names: Any) -> tuple[str, ...]:
    """One or three band names in the given order."""
    bands = tuple(parse_bands([name])[0] for name in names)
    if len(bands) not in (0, 1, 3):
        raise ValueError(f"give one or three bands, such as B12,B8A,B04, not {len(bands)}")
    return bands


class ViewOptions(Options):
    """How results are shown."""

    bands: Annotated[
        tuple[str, ...],
        BeforeValidator(_band_names),
        Accepts("Sequence[str]"),
        Text(
            metavar="RED,GREEN,BLUE",
            parse=lambda text: text.split(","),
            default="B8A,B11,B12, or true colour without BEFORE",
            repeatable=False,
        ),
    ] = ()
    """Bands to show first: three as red, green and blue, or one."""
    base_map: bool = False
    """Show OpenStreetMap below the images; its tiles are downloaded by the browser."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the local server. 0: any free port."""
