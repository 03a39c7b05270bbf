"""`decametre fleet predict`: map the land cover of many products."""

from __future__ import annotations

from typing import Any

import decametre
from decametre.cli.fleet.running import fleet_command
from decametre.cli.options import options
from decametre.landcover.mapping.options import PredictOptions


@fleet_command(
    "classifying", options(PredictOptions, into="job", exclude=PredictOptions.single_job)
)
def predict(*arguments: Any, **options: Any) -> Any:
    """Map the land cover of many products, each into its own folder in OUT.

    INPUT is as for `decametre fleet sharpen`.
    """
    return decametre.fleet_predict(*arguments, **options)
