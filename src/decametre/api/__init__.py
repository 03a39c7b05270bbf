"""What Python users call. The command line calls the same and adds nothing.

One module a verb, imported when the verb is first asked for: torch, GDAL and their like take
seconds, and no verb needs them all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from decametre.extras import check_extra

if TYPE_CHECKING:
    from decametre.api.evaluation import evaluate as evaluate
    from decametre.api.extraction import extract_patches as extract_patches
    from decametre.api.fleet import FleetOptions as FleetOptions
    from decametre.api.fleet import fleet_extract as fleet_extract
    from decametre.api.fleet import fleet_predict as fleet_predict
    from decametre.api.fleet import fleet_sharpen as fleet_sharpen
    from decametre.api.importing import import_patches as import_patches
    from decametre.api.labelling import label_product as label_product
    from decametre.api.land_cover_evaluation import evaluate_land_cover as evaluate_land_cover
    from decametre.api.land_cover_prediction import predict_land_cover as predict_land_cover
    from decametre.api.merging import merge_patches as merge_patches
    from decametre.api.opening import open as open
    from decametre.api.planning import plan_patches as plan_patches
    from decametre.api.sharpening import sharpen as sharpen
    from decametre.api.training import train as train
    from decametre.api.window import lonlat_bounds as lonlat_bounds

MODULES = {
    "FleetOptions": "fleet",
    "evaluate": "evaluation",
    "evaluate_land_cover": "land_cover_evaluation",
    "extract_patches": "extraction",
    "fleet_extract": "fleet",
    "fleet_predict": "fleet",
    "fleet_sharpen": "fleet",
    "import_patches": "importing",
    "label_product": "labelling",
    "lonlat_bounds": "window",
    "merge_patches": "merging",
    "open": "opening",
    "plan_patches": "planning",
    "predict_land_cover": "land_cover_prediction",
    "sharpen": "sharpening",
    "train": "training",
}
"""By public name, the module of this package that defines it."""

__all__ = [*MODULES]

if not TYPE_CHECKING:  # a checker sees the imports above, and complains of any other name

    def __getattr__(name: str) -> Any:
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        check_extra(name)
        return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *MODULES})
