"""Validation of STAC items against published JSON schemas, which lie next to this file; offline.

The schemas of the extensions were copied from github.com/stac-extensions (Apache-2.0), at the
version in each file's name. The schema of STAC itself comes with pystac.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

FOLDER = Path(__file__).parent / "schemas"
ITEM = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"


@cache
def registry() -> Registry:
    """All schemas by their address."""
    contents = dict(get_local_schema_cache())
    for path in FOLDER.glob("*.json"):
        name, _, version = path.stem.rpartition("-")
        address = f"https://stac-extensions.github.io/{name}/{version}/schema.json"
        contents[address] = json.loads(path.read_text())
    resources = {
        address: Resource.from_contents(content, default_specification=DRAFT7)
        for address, content in contents.items()
    }
    return Registry().with_resources(resources.items())


def errors_of(item: Mapping[str, Any]) -> list[str]:
    """The places of an item that violate STAC or one of the item's extensions."""
    return [
        f"{address}: {error.json_path}: {error.message}"
        for address in (ITEM, *item["stac_extensions"])
        for error in Draft7Validator(registry().contents(address), registry=registry()).iter_errors(
            item
        )
    ]
