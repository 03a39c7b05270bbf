"""`decametre fleet sharpen`: bring many products to 10 m."""

from __future__ import annotations

from typing import Any

import decametre
from decametre.cli.fleet.running import fleet_command
from decametre.cli.options import options
from decametre.superres.sharpening.options import SharpenOptions


@fleet_command("sharpening", options(SharpenOptions, into="job", exclude=SharpenOptions.single_job))
def sharpen(*arguments: Any, **options: Any) -> Any:
    """Bring many products to a resolution of 10 m, each into its own folder in OUT.

    INPUT is a text or CSV file that lists products, a folder of products, or a STAC ItemCollection
    or catalog. Completed products are skipped: the same command resumes an interrupted run.
    """
    return decametre.fleet_sharpen(*arguments, **options)
