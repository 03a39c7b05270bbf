"""What RESULT and BEFORE name: a GeoTIFF, a STAC item, a product."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decametre import files
from decametre.errors import DecametreError, ViewError
from decametre.io.stac_item import DERIVED_FROM, SETTINGS
from decametre.landcover.mapping.output_files import MapFiles
from decametre.sentinel2.opening import open_product
from decametre.superres.sharpening.output_files import SharpenedFiles
from decametre.viewer.layer import CLASSES, Layer, layer_of_geotiff, layer_of_product
from decametre.viewer.scene import Scene

log = logging.getLogger(__name__)

GEOTIFF = (".tif", ".tiff")

QUALITY, LAND_COVER = "decametre:quality", "decametre:land_cover"
"""Properties of an item: the quality card of a sharpened product, the description of a map."""


def open_scene(result: str, before: str | None = None, bands: Sequence[str] = ()) -> Scene:
    """Open a result, and the image before.

    Args:
        result: A GeoTIFF, the STAC item of a result, or a product.
        before: A GeoTIFF or a product. By default the product that the item of the result names,
            if it is a local file.
        bands: The bands to show first.

    Raises:
        DecametreError: One of them cannot be opened, or they do not fit together.
    """
    image, item_path, item = _files(result)
    layer = layer_of_product(open_product(result)) if image is None else _result_layer(image)
    earlier = _source_layer(item, item_path, layer.crs) if before is None else open_layer(before)
    return Scene(layer, earlier, _card(item, image), bands).checked()


def open_layer(source: str) -> Layer:
    """The bands of a GeoTIFF or of a product.

    Raises:
        DecametreError: It is neither.
    """
    if source.lower().endswith(GEOTIFF) and Path(source).exists():
        return layer_of_geotiff(Path(source))
    return layer_of_product(open_product(source))


def _files(result: str) -> tuple[Path | None, Path | None, dict[str, Any]]:
    """The GeoTIFF of a result, and path and content of its STAC item, as far as they exist."""
    path = Path(result)
    if path.suffix.lower() in GEOTIFF:
        if not path.is_file():
            raise ViewError(f"{path}: no such file; give a GeoTIFF, a STAC item or a folder")
        stem = path.stem.removesuffix(".classes")
        item_path = path.with_name(f"{stem}.json")
        if not item_path.is_file():
            return path, None, {}
        try:
            return path, item_path, read_item(item_path)
        except ViewError as error:
            log.warning("the file next to the image is ignored: %s", error)
            return path, None, {}
    if path.suffix.lower() in (".json", ".geojson") and path.is_file():
        item = read_item(path)
        href = image_href(item)
        image = path.parent / href
        if href and "://" not in href:
            if not image.is_file():
                raise ViewError(f"{path}: its image {image} does not exist")
            return image, path, item
    return None, None, {}


def read_item(path: Path) -> dict[str, Any]:
    """A STAC item.

    Raises:
        ViewError: The file is none.
    """
    item = read_json(path)
    if not isinstance(item.get("properties"), dict):
        raise ViewError(f"{path}: is no STAC item, it has no properties")
    return item


def image_href(item: Mapping[str, Any]) -> str:
    """The address of the GeoTIFF in an item of our results; empty if there is none."""
    try:
        href = str(item["assets"]["data"]["href"])
    except (LookupError, TypeError):
        return ""
    return href if href.lower().endswith(GEOTIFF) else ""


def _result_layer(image: Path) -> Layer:
    """The bands of a result; a map of probabilities together with its map of classes."""
    layer, classes = layer_of_geotiff(image), MapFiles(image).classes
    if CLASSES not in layer.channels and classes.is_file():
        return layer.with_classes_of(layer_of_geotiff(classes))
    return layer


def _source_layer(item: Mapping[str, Any], item_path: Path | None, crs: str) -> Layer | None:
    """The product that an item was derived from, if it is a local file in the same system."""
    try:
        links = {link["rel"]: link["href"] for link in item.get("links", [])}
    except (LookupError, TypeError):
        return None
    href = str(links.get(DERIVED_FROM, "://"))
    if item_path is None or "://" in href or not (item_path.parent / href).exists():
        return None
    source = item_path.parent / href
    settings = item["properties"].get(SETTINGS)
    offset = settings.get("offset_dn") if isinstance(settings, dict) else None
    try:
        layer = layer_of_product(open_product(source, "auto" if offset is None else offset))
    except DecametreError as error:
        log.warning("the product before is not shown: %s", error)
        return None
    return layer if layer.crs == crs else None


def _card(item: Mapping[str, Any], image: Path | None) -> dict[str, Any]:
    """The quality card, or the description of a land-cover map; empty if there is neither."""
    properties = item.get("properties", {})
    for name in (QUALITY, LAND_COVER):
        if isinstance(properties.get(name), dict):
            return dict(properties[name])
    path = SharpenedFiles(image).quality if image else None
    if path is not None and path.is_file():
        return read_json(path)
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ViewError: The file cannot be read, or is something else.
    """
    try:
        content = files.read_json(path)
    except (OSError, ValueError) as error:
        raise ViewError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ViewError(f"{path}: is no JSON object")
    return content
