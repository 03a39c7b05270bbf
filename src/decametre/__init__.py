"""Sentinel-2 super-resolution: all bands at 10 m, and land cover from the result.

import decametre

product = decametre.open("S2B_MSIL2A_....SAFE.zip")
result = decametre.sharpen(product, "sharp.tif")

Everything public is listed in `PUBLIC`, and imported when it is first used: torch and GDAL take
seconds to import. `__init__.pyi` describes the same names to type checkers; it is generated.
"""

from __future__ import annotations

import importlib
from typing import Any

from decametre.version import __version__

PUBLIC = {
    "open": "api.opening",
    "sharpen": "api.sharpening",
    "sharpen_arrays": "api.array_sharpening",
    "evaluate": "api.evaluation",
    "train": "api.training",
    "load_model": "api.models",
    "export_model": "api.models",
    "import_model": "api.models",
    "extract_patches": "api.extraction",
    "label_product": "api.labelling",
    "plan_patches": "api.planning",
    "import_patches": "api.importing",
    "merge_patches": "api.merging",
    "evaluate_land_cover": "api.land_cover_evaluation",
    "predict_land_cover": "api.land_cover_prediction",
    "fleet_sharpen": "api.fleet",
    "fleet_extract": "api.fleet",
    "fleet_predict": "api.fleet",
    "view": "api.viewing",
    "measure_mtf": "api.mtf",
    "lonlat_bounds": "sentinel2.parts",
    "SharpenOptions": "superres.sharpening.options",
    "EvaluateOptions": "superres.evaluation.options",
    "TrainOptions": "recipes.options",
    "ExportOptions": "superres.export.options",
    "ExtractOptions": "landcover.extraction.options",
    "LabelOptions": "landcover.extraction.options",
    "PlanPatchesOptions": "landcover.extraction.options",
    "ImportOptions": "landcover.bigearthnet.options",
    "MergeOptions": "landcover.patches.options",
    "LandCoverEvaluateOptions": "landcover.evaluation.options",
    "ImportModelOptions": "landcover.options",
    "PredictOptions": "landcover.mapping.options",
    "FleetOptions": "fleet.options",
    "ViewOptions": "viewer.options",
    "SharpenedArrays": "superres.sharpening.array_job",
    "Product": "sentinel2.product",
    "Window": "sentinel2.grid",
    "Viewer": "viewer.viewer",
    "PatchStore": "landcover.patches.store",
    "DecametreError": "errors",
}
"""The public names, and the module of this package that defines each."""

__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from decametre.extras import check_extra

    check_extra(name)
    return getattr(importlib.import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
