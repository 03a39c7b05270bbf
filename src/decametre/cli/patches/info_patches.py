"""`decametre patches info`: describe a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decametre.cli.options import json_option

if TYPE_CHECKING:
    from decametre.landcover.patches.store import PatchStore


def describe(store: PatchStore) -> dict[str, Any]:
    """Facts about a store, and how often each class occurs in each split, as JSON."""
    import numpy as np

    from decametre.landcover.patches.patch import SPLITS

    splits = np.array(store.splits)
    there = [name for name in (*SPLITS, "") if (splits == name).any()]
    shown = {name: name or "none" for name in there}
    return {
        "path": str(store.path),
        "patches": len(store),
        "images": {key: list(store.bands(key)) for key in store.keys},
        "nomenclature": store.nomenclature.name,
        "splits": {shown[name]: int((splits == name).sum()) for name in there},
        "classes": {
            label: {shown[name]: int(column[splits == name].sum()) for name in there}
            for label, column in zip(store.class_names, store.labels.T, strict=True)
        },
        "model": store.model,
        "attribution": store.header.attribution,
        "job": store.header.job,
        "shards": [str(shard.path) for shard in store.shards if shard.path != store.path],
    }


@click.command("info")
@click.argument("store", type=click.Path(path_type=Path), metavar="STORE.h5")
@json_option
def info_patches(store: Path, as_json: bool) -> None:
    """Describe STORE.h5: patches, images, bands, and the frequency of each class in each split."""
    from decametre.landcover.patches.store import PatchStore  # h5py, which help does not need

    found = describe(PatchStore(store))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    images = "; ".join(f"{key}: {' '.join(bands)}" for key, bands in found["images"].items())
    jobs = found["job"].split("; ")  # a merged store tells those of all its shards
    more = f", and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    rows = [
        ("patches", f"{found['patches']:,} in {len(found['shards']) or 1} file(s)"),
        ("images", images),
        ("sharpened by", found["model"] or "nothing: native images only"),
        ("made by", jobs[0] + more),
        ("source", found["attribution"]),
    ]
    for name, value in rows:
        click.echo(f"{name:<13} {value}")
    click.echo()
    splits = list(found["splits"])
    width = max(map(len, (*found["classes"], found["nomenclature"])))
    click.echo(" ".join([f"{found['nomenclature']:<{width}}", *(f"{name:>10}" for name in splits)]))
    for label, counts in {**found["classes"], "patches": found["splits"]}.items():
        click.echo(" ".join([f"{label:<{width}}", *(f"{counts[name]:>10,}" for name in splits)]))
