"""What an extraction has to do, written down in a folder: workers and restarts read it there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from decametre.landcover.extraction.placing import PlacedPatch
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import Nomenclature

_FACTS, _PATCHES = "job.json", "patches.parquet"

_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("origin", pa.int32()),
        ("name", pa.string()),
        ("column", pa.int32()),
        ("row", pa.int32()),
        ("labels", pa.list_(pa.string())),
        ("split", pa.string()),
        ("country", pa.string()),
    ]
)


@dataclass(frozen=True)
class Origin:
    """One of the products that patches are cut from.

    Attributes:
        source: What `open_product` takes.
        offset: Likewise.
        tile: Path of its sharpened tile, or None.
    """

    source: str
    offset: str | float
    tile: str | None


@dataclass(frozen=True)
class Job:
    """An extraction whose every decision has been made.

    Attributes:
        folder: Where it is written down, and where the shards are made.
        shards: Name of the folder in it for the shards.
        header: Of all shards.
        origins: The products.
        counts: How many patches there are of each shard at most: some may hold no data.
        left_out: How many patches of the list were left out, by reason.
    """

    folder: Path
    shards: str
    header: Header
    origins: tuple[Origin, ...]
    counts: tuple[int, ...]
    left_out: Mapping[str, int]

    def save(self, shares: Sequence[Sequence[tuple[int, PlacedPatch]]]) -> None:
        """Write the job down.

        Args:
            shares: For each shard, its patches in the order in which they are cut, each with the
                number of its product among the origins.
        """
        rows = [
            (shard, origin, p.name, p.column, p.row, p.labels, p.split, p.country)
            for shard, share in enumerate(shares)
            for origin, p in share
        ]
        columns = [
            pa.array(column, field.type)
            for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
        ]
        # A row group a shard: a worker reads its own alone.
        with pq.ParquetWriter(self.folder / _PATCHES, _SCHEMA) as writer:
            table, start = pa.table(columns, schema=_SCHEMA), 0
            for share in shares:
                writer.write_table(table.slice(start, len(share)), row_group_size=len(share) or 1)
                start += len(share)
        (self.folder / self.shards).mkdir(exist_ok=True)
        facts = {
            "shards": self.shards,
            "header": asdict(self.header),
            "origins": [asdict(origin) for origin in self.origins],
            "counts": self.counts,
            "left_out": dict(self.left_out),
        }
        # Last, and at once: where this stands, the job is whole.
        fresh = self.folder / f"{_FACTS}.new"
        fresh.write_text(json.dumps(facts), encoding="utf-8")
        fresh.replace(self.folder / _FACTS)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a job has been written down in a folder."""
        return (folder / _FACTS).is_file()

    @staticmethod
    def load(folder: Path) -> Job:
        """The job of a folder."""
        facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        header = facts["header"]
        names = header.pop("nomenclature")
        nomenclature = Nomenclature(names["name"], tuple(names["classes"]))
        header["keys"] = tuple(header["keys"])
        return Job(
            folder,
            facts["shards"],
            Header(nomenclature=nomenclature, **header),
            tuple(Origin(**origin) for origin in facts["origins"]),
            tuple(facts["counts"]),
            facts["left_out"],
        )

    def share(self, shard: int) -> list[tuple[int, PlacedPatch]]:
        """The patches of a shard, as they were given to `save`."""
        table = pq.read_table(self.folder / _PATCHES, filters=[("shard", "=", shard)])
        return [
            (
                row["origin"],
                PlacedPatch(
                    row["name"],
                    row["name"],
                    row["column"],
                    row["row"],
                    tuple(row["labels"]),
                    row["split"],
                    country=row["country"],
                ),
            )
            for row in table.to_pylist()
        ]

    def shard_path(self, shard: int) -> Path:
        """Where a shard is made; it stands there when it is finished."""
        return self.folder / self.shards / f"{shard:04d}.h5"

    def empty_path(self, shard: int) -> Path:
        """A file that stands in place of a shard of which no patch holds data."""
        return self.shard_path(shard).with_suffix(".empty")
