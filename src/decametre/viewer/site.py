"""The addresses of the viewer: what each of them returns. Nothing else can be read."""

from __future__ import annotations

import hmac
import json
import mimetypes
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from decametre.errors import ViewError
from decametre.viewer.fleet_folder import FleetFolder
from decametre.viewer.scene import Scene
from decametre.viewer.style_request import StyleRequest

OPEN_SCENES = 4
"""Products of a fleet whose files stay open."""


@dataclass(frozen=True)
class Response:
    """An answer to a request.

    Attributes:
        body: The content.
        content_type: Its media type.
        status: HTTP status.
        cached: Whether the browser may keep it.
    """

    body: bytes
    content_type: str
    status: int = 200
    cached: bool = False


class Site:
    """Page, tiles and values of one scene, or of the products of a fleet.

    Args:
        title: Name on the page.
        open_scene: Opens the product of a number.
        count: Number of products.
        fleet: The folder of a fleet, or None for one scene.
        base_map: Whether the page shows a base map from the internet.
    """

    def __init__(
        self,
        title: str,
        open_scene: Callable[[int], Scene],
        count: int = 1,
        fleet: FleetFolder | None = None,
        base_map: bool = False,
    ) -> None:
        self.title, self.fleet, self.base_map, self.count = title, fleet, base_map, count
        self.token = secrets.token_urlsafe(16)
        self._lock = Lock()
        self._open_scene = lru_cache(maxsize=OPEN_SCENES)(open_scene)

    def respond(self, target: str) -> Response:
        """The response to a GET request.

        Args:
            target: Path and query of the address.

        Raises:
            DecametreError: A parameter is wrong, or a file cannot be read.
        """
        address = urlsplit(target)
        token, *parts = address.path.removeprefix("/").split("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return NOT_FOUND
        query = dict(parse_qsl(address.query))
        match parts:
            case [""]:
                return _asset("index.html")
            case ["assets", *path]:
                return _asset("/".join(path))
            case ["site.json"]:
                kind = "scene" if self.fleet is None else "fleet"
                return _json({"kind": kind, "title": self.title, "base_map": self.base_map})
            case ["fleet.json"] if self.fleet is not None:
                return _json(self.fleet.footprints)
            case ["products", number, *rest] if _is_number(number, self.count):
                return _scene_response(self._scene(int(number)), rest, query)
        return NOT_FOUND

    def _scene(self, number: int) -> Scene:
        with self._lock:  # several tiles of a product are requested at once
            return self._open_scene(number)


NOT_FOUND = Response(b"not found\n", "text/plain; charset=utf-8", 404)


def _scene_response(scene: Scene, parts: list[str], query: Mapping[str, str]) -> Response:
    match parts:
        case ["view.json"]:
            return _json(scene.description)
        case ["values"]:
            return _json(scene.values(_number(query, "x"), _number(query, "y")))
        case ["limits"]:
            west, south, east, north = (
                _number(query, name) for name in ("west", "south", "east", "north")
            )
            if not (west < east and south < north):
                raise ViewError("the area is empty; give west, south, east and north")
            return _json(scene.limits((west, south, east, north)))
        case ["tiles", layer, *place] if len(place) == 3 and place[2].endswith(".png"):
            place[2] = place[2].removesuffix(".png")
            if all(map(_is_index, place)):
                zoom, column, row = map(int, place)
                tile = scene.tile(layer, zoom, column, row, StyleRequest.of(query))
                return Response(tile, "image/png", cached=True)
    return NOT_FOUND


@cache
def _assets() -> dict[str, Traversable]:
    """The files of the page by their names in addresses."""
    folder = resources.files("decametre.viewer") / "assets"
    groups = {"": folder, "vendor/": folder / "vendor"}
    return {
        f"{prefix}{file.name}": file
        for prefix, group in groups.items()
        for file in group.iterdir()
        if file.is_file()
    }


def _asset(name: str) -> Response:
    file = _assets().get(name)
    if file is None:
        return NOT_FOUND
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return Response(file.read_bytes(), kind, cached=name.startswith("vendor/"))


def _json(content: Any) -> Response:
    return Response(json.dumps(content).encode(), "application/json")


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 8


def _is_number(text: str, count: int) -> bool:
    return _is_index(text) and int(text) < count


def _number(query: Mapping[str, str], name: str) -> float:
    try:
        return float(query[name])
    except (KeyError, ValueError):
        raise ViewError(f"{name}: give a number") from None
