"""What is fuzzed: a valid input of each kind, how it is mutated, and how it is read.

A target's `prepare` writes a valid input into a folder and returns a function that makes one
mutated input and reads it. An input may be accepted, or refused by a `DecametreError`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save

from benchmarks.fuzzing.mutations import mutate_bytes, mutate_tree, mutate_xml
from decametre.bench.synthetic_eopf import make_eopf
from decametre.bench.synthetic_safe import make_safe
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.completion import result_state
from decametre.fleet.history import read_history
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.inputs.product_list import read_listing
from decametre.landcover.models.card import (
    LandCoverCard,
    build_land_cover,
    load_land_cover,
    save_land_cover,
)
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.model_folder import CARD_NAME, WEIGHTS_NAME
from decametre.recipes.reading import read_recipe
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.safe_metadata import (
    parse_granule_metadata,
    parse_manifest,
    parse_product_metadata,
)
from decametre.superres.models.card import Card
from decametre.superres.models.registry import build, load_folder, save_model
from tests.fleet.journals import JournalWriter
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch

Attempt = Callable[[Random], None]
EDGE = 60
"""Edge of the products in 10 m pixels."""


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


def _pixels() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(1, 4000, (EDGE * 10 // band.gsd,) * 2, dtype=np.uint16)
        for name, band in ALL_BANDS.items()
    }


def _read_pixels(source: Path) -> None:
    """Open a product and read all its pixels."""
    product = open_product(source)
    window = product.grid.window
    if window.width * window.height > 4 * EDGE * EDGE:  # a valid larger grid: its first pixels
        window = type(window)(0, 0, 6, 6)
    with BandReader(product, product.bands) as reader:
        reader.read_all(product.bands, window)


def _safe(folder: Path) -> Path:
    return make_safe(folder, _pixels(), level="L2A")


# Products ---------------------------------------------------------------------------------------


def _mtd(folder: Path) -> Attempt:
    content = (_safe(folder) / "MTD_MSIL2A.xml").read_bytes()
    return lambda random: parse_product_metadata(mutate_xml(content, random), "MTD") and None


def _mtd_tl(folder: Path) -> Attempt:
    content = next(_safe(folder).glob("GRANULE/*/MTD_TL.xml")).read_bytes()
    return lambda random: parse_granule_metadata(mutate_xml(content, random), "MTD_TL") and None


def _manifest(folder: Path) -> Attempt:
    content = (
        b'<xfdu><dataObject><byteStream mimeType="x"><fileLocation href="./GRANULE/a.jp2"/>'
        b'<checksum checksumName="MD5">5d41402abc4b2a76b9719d911017c592</checksum></byteStream>'
        b"</dataObject></xfdu>"
    )
    return lambda random: parse_manifest(mutate_xml(content, random), "manifest") and None


def _safe_folder(folder: Path) -> Attempt:
    safe = _safe(folder)
    files = [safe / "MTD_MSIL2A.xml", *safe.glob("GRANULE/*/MTD_TL.xml")]
    contents = {path: path.read_bytes() for path in files}

    def attempt(random: Random) -> None:
        for path, content in contents.items():
            path.write_bytes(mutate_xml(content, random) if random.random() < 0.7 else content)
        _read_pixels(safe)

    return attempt


def _zip(folder: Path) -> Attempt:
    safe = _safe(folder / "unpacked")
    path = folder / "product.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(safe.rglob("*")):
            archive.write(file, file.relative_to(safe.parent))
    return _bytes_of(path, _read_pixels, tail=0.5)


def _bytes_of(path: Path, read: Callable[[Path], Any], tail: float = 0.0) -> Attempt:
    """Mutate the bytes of a file; a share of the mutations only in its last 4096 bytes."""
    content = path.read_bytes()

    def attempt(random: Random) -> None:
        at = max(0, len(content) - 4096) if random.random() < tail else 0
        path.write_bytes(content[:at] + mutate_bytes(content[at:], random))
        read(path)

    return attempt


def _item(folder: Path) -> Attempt:
    item = _with_item(folder)
    path = folder / "item.json"

    def attempt(random: Random) -> None:
        path.write_text(json.dumps(mutate_tree(item, random)))
        _read_pixels(path)

    return attempt


def _with_item(folder: Path) -> dict[str, Any]:
    """A STAC item of a product whose files lie next to it."""
    safe = _safe(folder)
    assets = {}
    for path in safe.rglob("*.jp2"):
        ends = {name: f"_{name}_{band.gsd}m.jp2" for name, band in ALL_BANDS.items()}
        for name in [name for name, end in ends.items() if path.name.endswith(end)]:
            assets[name] = {
                "href": str(path.relative_to(folder)),
                "type": "image/jp2",
                "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
            }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_MSIL2A_20230817T105031_N0509_R051_T31TCJ_20230817T170411",
        "geometry": None,
        "links": [],
        "properties": {
            "datetime": "2023-08-17T10:50:31Z",
            "platform": "sentinel-2a",
            "s2:processing_baseline": "05.09",
            "proj:epsg": 32631,
        },
        "assets": assets,
    }


def _catalog(folder: Path) -> Attempt:
    item = _with_item(folder)
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "c",
        "links": [{"rel": "item", "href": "item.json"}, {"rel": "child", "href": "child.json"}],
    }
    collection = {"type": "FeatureCollection", "features": [item, item | {"id": "b"}]}

    def attempt(random: Random) -> None:
        document = random.choice((catalog, collection))
        (folder / "list.json").write_text(json.dumps(mutate_tree(document, random)))
        (folder / "item.json").write_text(json.dumps(mutate_tree(item, random)))
        (folder / "child.json").write_text(json.dumps(mutate_tree(catalog, random)))
        read_listing(str(folder / "list.json"), folder / "items")

    return attempt


def _eopf(zarr_format: int) -> Callable[[Path], Attempt]:
    def prepare(folder: Path) -> Attempt:
        root = make_eopf(folder, _pixels(), zarr_format=zarr_format, level="L2A")
        contents = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        names = (".zmetadata", ".zattrs", ".zarray", ".zgroup", "zarr.json")
        metadata = [path for path in contents if path.name in names]
        roots = [path for path in metadata if path.parent == root]
        chunks = [path for path in contents if path not in metadata]

        def attempt(random: Random) -> None:
            paths = random.choice((roots, metadata, chunks))
            path = random.choice(paths)
            if path in metadata and random.random() < 0.8:
                tree = mutate_tree(json.loads(contents[path]), random)
                path.write_text(json.dumps(tree))
            else:
                path.write_bytes(mutate_bytes(contents[path], random))
            try:
                _read_pixels(root)
            finally:
                path.write_bytes(contents[path])

        return attempt

    return prepare


def _image(suffix: str) -> Callable[[Path], Attempt]:
    """One band file, whose bytes are mutated; most mutations in its header."""

    def prepare(folder: Path) -> Attempt:
        item = _with_item(folder)
        path = folder / item["assets"]["B02"]["href"]
        if suffix == ".tif":
            import rasterio.shutil

            rasterio.shutil.copy(path, folder / "B02.tif", driver="COG", compress="DEFLATE")
            path = folder / "B02.tif"
        item["assets"] = {"B02": item["assets"]["B02"] | {"href": str(path)}}
        (folder / "item.json").write_text(json.dumps(item))
        content = path.read_bytes()

        def attempt(random: Random) -> None:
            end = 600 if random.random() < 0.7 else len(content)
            path.write_bytes(mutate_bytes(content[:end], random) + content[end:])
            _read_pixels(folder / "item.json")

        return attempt

    return prepare


# Stores, models, checkpoints --------------------------------------------------------------------


def _store(folder: Path) -> Attempt:
    path = folder / "patches.h5"
    patches = [synthetic_patch(f"patch_{number}") for number in range(3)]
    with PatchWriter(path, HEADER, len(patches)) as writer:
        writer.append(patches)

    def read(path: Path) -> None:
        store = PatchStore(path)
        store.patches(range(min(len(store), 3)))

    content = path.read_bytes()
    names = [content.find(name) for name in (b"nomenclature", b"class_names", b"OHDR", b"TREE")]

    def attempt(random: Random) -> None:
        at = random.choice([0, *(max(0, name - 200) for name in names)])
        end = min(len(content), at + random.choice((200, 2000, len(content))))
        path.write_bytes(content[:at] + mutate_bytes(content[at:end], random) + content[end:])
        read(path)

    return attempt


def _card_of_superres() -> Card:
    return Card(
        "small",
        "native",
        {"width": 8, "blocks": 1},
        {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B11")},
        margin=0,
    )


def _model(folder: Path) -> Attempt:
    card = _card_of_superres()
    save_model(folder, card, build(card))
    return _mutated_model(folder, load_folder)


def _land_cover(folder: Path) -> Attempt:
    card = LandCoverCard(
        "small",
        "test_resnet",
        {},
        {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B11")},
        norm="merged",
        sharpened=False,
        nomenclature="mine",
        classes=("a", "b"),
    )
    save_land_cover(folder, card, build_land_cover(card))
    return _mutated_model(folder, load_land_cover)


def _mutated_model(folder: Path, load: Callable[[Path], Any]) -> Attempt:
    """The card as a tree, or the weights as bytes, with the checksum that fits them."""
    item = json.loads((folder / CARD_NAME).read_text())
    weights = (folder / WEIGHTS_NAME).read_bytes()

    def attempt(random: Random) -> None:
        card, content = item, weights
        if random.random() < 0.7:
            card = mutate_tree(item, random)
        else:
            end = random.choice((400, len(weights)))
            content = mutate_bytes(weights[:end], random) + weights[end:]
            card = json.loads(json.dumps(item))
            checksum = f"1220{hashlib.sha256(content).hexdigest()}"
            card["assets"]["weights"]["file:checksum"] = checksum
        (folder / CARD_NAME).write_text(json.dumps(card))
        (folder / WEIGHTS_NAME).write_bytes(content)
        load(folder)

    return attempt


def _checkpoint(folder: Path) -> Attempt:
    from decametre.training.checkpoint import checksum_of, read_checkpoint

    tensors = {"network.a": torch.zeros(3, 4), "optimizer.0.step": torch.tensor(1.0)}
    state = {
        "recipe": {"task": "sharpen"},
        "beside": {},
        "step": 3,
        "scores": [0.5],
        "kept_from": 1,
    }
    path = folder / "checkpoint.safetensors"

    def attempt(random: Random) -> None:
        metadata = dict(state)
        if random.random() < 0.5:
            metadata = mutate_tree(state, random)
        if isinstance(metadata, dict) and random.random() < 0.7:
            metadata["checksum"] = checksum_of(metadata, tensors)
        content = save(tensors, metadata={"state": json.dumps(metadata)})
        if random.random() < 0.5:
            content = mutate_bytes(content, random)
        path.write_bytes(content)
        read_checkpoint(path)

    return attempt


# Texts ------------------------------------------------------------------------------------------


def _yaml(text: str, read: Callable[[Path], Any]) -> Callable[[Path], Attempt]:
    def prepare(folder: Path) -> Attempt:
        path, tree = folder / "file.yaml", yaml.safe_load(text)

        def attempt(random: Random) -> None:
            if random.random() < 0.6:
                content = json.dumps(mutate_tree(tree, random)).encode()  # YAML, too
            else:
                content = mutate_bytes(text.encode(), random)
            path.write_bytes(content)
            read(path)

        return attempt

    return prepare


CLUSTER = """system: slurm
workers: {minimum: 1, maximum: 4}
side_by_side: 2
options: {cores: 4, memory: 16GiB, walltime: '04:00:00', queue: batch, job_extra_directives: [--x]}
"""


def _recipe_text() -> str:
    import decametre.recipes

    return (Path(decametre.recipes.__file__).parent / "native_2x.yaml").read_text()


def _recipe(folder: Path) -> Attempt:
    return _yaml(_recipe_text(), lambda path: read_recipe(str(path)))(folder)


def _journal(folder: Path) -> Attempt:
    journal = JournalWriter(folder)
    journal.run(3)
    journal.worker("a")
    journal.done("p", worker="a")
    journal.failed("q")
    journal.ended()
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]

    def attempt(random: Random) -> None:
        if random.random() < 0.7:
            events = [mutate_tree(e, random) if random.random() < 0.4 else e for e in lines]
            text = "".join(json.dumps(event) + "\n" for event in events).encode()
        else:
            text = mutate_bytes("".join(json.dumps(e) + "\n" for e in lines).encode(), random)
        journal.path.write_bytes(text)
        history = read_history(folder, keep_products=True)
        history.latest.to_dict()
        history.latest.counts()

    return attempt


def _result(folder: Path) -> Attempt:
    item = _with_item(folder)
    entry = ProductEntry("p", str(folder / "p.SAFE"))
    (folder / "p").mkdir()

    def attempt(random: Random) -> None:
        (folder / "p" / "p.json").write_text(json.dumps(mutate_tree(item, random)))
        result_state(folder, entry, {"a": 1})

    return attempt


TARGETS = {
    target.name: target
    for target in (
        Target("mtd", "MTD_MSIL2A.xml", _mtd),
        Target("mtd-tl", "MTD_TL.xml", _mtd_tl),
        Target("manifest", "manifest.safe", _manifest),
        Target("safe", "a SAFE folder with mutated metadata, all pixels read", _safe_folder),
        Target("zip", "a SAFE zip, all pixels read", _zip),
        Target("item", "a STAC item, all pixels read", _item),
        Target("catalog", "STAC catalogs and ItemCollections as lists of a fleet", _catalog),
        Target("zarr2", "EOPF Zarr 2: metadata and chunks, all pixels read", _eopf(2)),
        Target("zarr3", "EOPF Zarr 3: metadata and chunks, all pixels read", _eopf(3)),
        Target("jp2", "a JPEG 2000 band, all pixels read", _image(".jp2")),
        Target("tif", "a GeoTIFF band, all pixels read", _image(".tif")),
        Target("store", "an HDF5 store of patches", _store),
        Target("model", "a super-resolution model: card and weights", _model),
        Target("landcover", "a land-cover model: card and weights", _land_cover),
        Target("checkpoint", "a checkpoint of a training run", _checkpoint),
        Target("recipe", "a training recipe", _recipe),
        Target("cluster", "a cluster file", _yaml(CLUSTER, read_cluster_file)),
        Target("journal", "the journal of a fleet, as `fleet status` reads it", _journal),
        Target("result", "the STAC item of a fleet's result", _result),
    )
}
