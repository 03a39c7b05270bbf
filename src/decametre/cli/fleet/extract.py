"""`decametre fleet extract`: cut patches from many products."""

from __future__ import annotations

from typing import Any

import decametre
from decametre.cli.fleet.running import fleet_command
from decametre.cli.options import options
from decametre.fleet.options import FleetTiles
from decametre.landcover.extraction.options import ExtractOptions


@fleet_command(
    "extracting",
    options(FleetTiles, into="tiles"),
    options(ExtractOptions, into="job", exclude=ExtractOptions.single_job),
)
def extract(*arguments: Any, tiles: FleetTiles, **options: Any) -> Any:
    """Cut patches of 1200 m from many products, into one store per product in folders of OUT.

    INPUT is as for `decametre fleet sharpen`. `decametre patches merge OUT/*/*.h5 ALL.h5` combines
    the stores into one.
    """
    return decametre.fleet_extract(*arguments, sharpened=tiles.sharpened, **options)
