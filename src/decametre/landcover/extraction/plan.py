"""The plan of an extraction, saved in its work folder, where workers and later runs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from decametre.files import read_json, write_file
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import Nomenclature

_PLAN, _PATCHES = "job.json", "patches.parquet"

_COLUMNS = ("name", "column", "row", "labels", "split", "country")
"""What is saved of a patch."""

PlannedPatch = tuple[int, LocatedPatch]
"""A patch, and the number of its product in the plan."""


@dataclass(frozen=True)
class ProductInput:
    """A product that patches are cut from.

    Attributes:
        source: See `open_product`.
        offset: See `open_product`.
        tile: Path of its sharpened tile, or None.
    """

    source: str
    offset: str | float
    tile: str | None


@dataclass(frozen=True)
class ExtractionPlan:
    """Everything that has been decided about an extraction.

    Attributes:
        folder: The work folder.
        shards: Name of the folder in it for the shards.
        header: Header of all shards.
        products: The products.
        counts: Largest number of patches of each shard; patches without data are not written.
        left_out: Number of patches of the list that are excluded, by reason.
    """

    folder: Path
    shards: str
    header: Header
    products: tuple[ProductInput, ...]
    counts: tuple[int, ...]
    left_out: Mapping[str, int]

    def save(self, shares: Sequence[Sequence[PlannedPatch]]) -> None:
        """Save the plan.

        Args:
            shares: The patches of each shard, in the order of cutting.
        """
        rows = [
            (shard, product, *(getattr(patch, key) for key in _COLUMNS))
            for shard, share in enumerate(shares)
            for product, patch in share
        ]
        # Small row groups, so that a worker decodes little more than its own patches.
        pd.DataFrame(rows, columns=["shard", "origin", *_COLUMNS]).to_parquet(
            self.folder / _PATCHES, index=False, row_group_size=10_000
        )
        (self.folder / self.shards).mkdir(exist_ok=True)
        content = {
            "shards": self.shards,
            "header": asdict(self.header),
            "origins": [asdict(product) for product in self.products],
            "counts": self.counts,
            "left_out": dict(self.left_out),
        }
        # Written last: its presence means that the plan is complete.
        write_file(self.folder / _PLAN, json.dumps(content))

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a work folder holds a complete plan."""
        return (folder / _PLAN).is_file()

    @staticmethod
    def load(folder: Path) -> ExtractionPlan:
        """Load the plan of a work folder."""
        content: dict[str, Any] = read_json(folder / _PLAN)
        header = content["header"]
        names = header.pop("nomenclature")
        nomenclature = Nomenclature(names["name"], tuple(names["classes"]))
        header["keys"] = tuple(header["keys"])
        return ExtractionPlan(
            folder,
            content["shards"],
            Header(nomenclature=nomenclature, **header),
            tuple(ProductInput(**product) for product in content["origins"]),
            tuple(content["counts"]),
            content["left_out"],
        )

    def patches(self, shard: int) -> list[PlannedPatch]:
        """The patches of a shard, in the order of cutting."""
        table = pd.read_parquet(self.folder / _PATCHES, filters=[("shard", "==", shard)])
        return [
            (
                row["origin"],
                LocatedPatch(
                    listed=row["name"],
                    labels=tuple(row["labels"]),
                    **{key: row[key] for key in _COLUMNS if key != "labels"},
                ),
            )
            for row in table.to_dict("records")
        ]

    def shard_path(self, shard: int) -> Path:
        """Path of a shard; the file exists once the shard is complete."""
        return self.folder / self.shards / f"{shard:04d}.h5"

    def empty_path(self, shard: int) -> Path:
        """Path of the empty file that replaces a shard in which no patch holds data."""
        return self.shard_path(shard).with_suffix(".empty")
