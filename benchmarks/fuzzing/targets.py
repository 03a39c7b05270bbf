"""What is fuzzed: a valid input of each kind, how it is mutated, and how it is read.

A target's `prepare` writes a valid input into a folder and returns a function that makes one
mutated input and reads it. An input may be accepted, or refused by a `DecametreError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzzing import file_targets as files
from benchmarks.fuzzing import product_targets as products
from benchmarks.fuzzing.file_targets import Attempt
from decametre.fleet.cluster_file import read_cluster_file


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: Short name.
        what: What is mutated and read.
        prepare: See the module's docstring.
    """

    name: str
    what: str
    prepare: Callable[[Path], Attempt]


TARGETS = {
    target.name: target
    for target in (
        Target("mtd", "MTD_MSIL2A.xml", products.mtd_target),
        Target("mtd-tl", "MTD_TL.xml", products.mtd_tl_target),
        Target("manifest", "manifest.safe", products.safe_manifest_target),
        Target(
            "safe",
            "a SAFE folder with mutated metadata, all pixels read",
            products.safe_folder_target,
        ),
        Target("zip", "a SAFE zip, all pixels read", products.safe_zip_target),
        Target("item", "a STAC item, all pixels read", products.stac_item_target),
        Target(
            "catalog",
            "STAC catalogs and ItemCollections as lists of a fleet",
            products.stac_catalog_target,
        ),
        Target(
            "zarr2", "EOPF Zarr 2: metadata and chunks, all pixels read", products.eopf_target(2)
        ),
        Target(
            "zarr3", "EOPF Zarr 3: metadata and chunks, all pixels read", products.eopf_target(3)
        ),
        Target("jp2", "a JPEG 2000 band, all pixels read", products.image_target(".jp2")),
        Target("tif", "a GeoTIFF band, all pixels read", products.image_target(".tif")),
        Target("store", "an HDF5 store of patches", files.store_target),
        Target("model", "a super-resolution model: card and weights", files.model_target),
        Target("landcover", "a land-cover model: card and weights", files.land_cover_target),
        Target("checkpoint", "a checkpoint of a training run", files.checkpoint_target),
        Target("recipe", "a training recipe", files.recipe_target),
        Target(
            "cluster", "a cluster file", files.yaml_file_target(files.CLUSTER, read_cluster_file)
        ),
        Target(
            "journal", "the journal of a fleet, as `fleet status` reads it", files.journal_target
        ),
        Target("result", "the STAC item of a fleet's result", products.result_target),
    )
}
