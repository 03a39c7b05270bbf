"""Servers on loopback: a STAC API (stac-fastapi over a list of items) and a file server."""

from __future__ import annotations

import copy
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr
import uvicorn
from fastapi import HTTPException, Request
from pydantic import BaseModel
from shapely.geometry import box, shape
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import create_post_request_model
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.extension import ApiExtension
from stac_fastapi.types.rfc3339 import rfc3339_str_to_datetime, str_to_interval

Item = dict[str, Any]


class Query(BaseModel):
    query: dict[str, dict[str, Any]] | None = None


class QueryExtension(ApiExtension):
    """The query extension with the operator `lte`; an API without a model ignores queries."""

    def __init__(self, model: type[BaseModel] | None) -> None:
        super().__init__(["https://api.stacspec.org/v1.0.0/item-search#query"])
        self.POST = model

    def register(self, app):
        pass


@attr.s
class MemoryClient(BaseCoreClient):
    """Serves a list of items; `self_link` returns the `self` link of an item, or None."""

    items: list[Item] = attr.ib(factory=list)
    collections: list[str] = attr.ib(factory=list)
    self_link: Any = attr.ib(default=None)
    searches: list[dict[str, Any]] = attr.ib(factory=list)

    def _sent(self, item: Item, base: str) -> Item:
        item = copy.deepcopy(item)
        address = f"{base}collections/{item['collection']}/items/{item['id']}"
        link = self.self_link(address)
        item["links"] = [{"rel": "self", "href": link}] if link else []
        return item

    def post_search(self, search_request, **kwargs):
        request: Request = kwargs["request"]
        self.searches.append(search_request.model_dump(exclude_none=True, mode="json"))
        found = self.items
        if search_request.collections:
            found = [each for each in found if each["collection"] in search_request.collections]
        if search_request.bbox:
            area = box(*search_request.bbox)
            found = [each for each in found if shape(each["geometry"]).intersects(area)]
        if search_request.datetime:
            start, end = str_to_interval(search_request.datetime)
            sensed = [rfc3339_str_to_datetime(each["properties"]["datetime"]) for each in found]
            found = [
                each
                for each, when in zip(found, sensed, strict=True)
                if (start is None or when >= start) and (end is None or when <= end)
            ]
        for name, test in (getattr(search_request, "query", None) or {}).items():
            found = [e for e in found if e["properties"].get(name, 1e9) <= test["lte"]]
        base, token = str(request.base_url), int(request.query_params.get("token", 0))
        last = token + search_request.limit
        links = [{"rel": "next", "method": "POST", "href": f"{base}search?token={last}"}]
        # By the specification, the next page is requested with the same body.
        links[0]["body"] = search_request.model_dump(exclude_none=True, mode="json")
        return {
            "type": "FeatureCollection",
            "features": [self._sent(each, base) for each in found[token:last]],
            "links": links if last < len(found) else [],
        }

    def get_search(self, **kwargs):
        raise HTTPException(405)

    def get_item(self, item_id, collection_id, **kwargs):
        base = str(kwargs["request"].base_url)
        same = (e for e in self.items if (e["id"], e["collection"]) == (item_id, collection_id))
        return self._sent(next(same), base)

    def all_collections(self, **kwargs):
        return {"collections": [self.get_collection(name) for name in self.collections]}

    def get_collection(self, collection_id, **kwargs):
        return {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": collection_id,
            "description": collection_id,
            "license": "other",
            # Invalid, but some servers send this: no interval at all.
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": []}},
            "links": [],
        }

    def item_collection(self, collection_id, **kwargs):
        raise HTTPException(404)


@contextmanager
def stac_api(
    items: list[Item],
    collections: list[str],
    *,
    claims_query: bool = True,
    heeds_query: bool = True,
    self_link: Any = lambda address: address,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Start a STAC API; yields its URL and a list of the search requests that it received."""
    extensions = [QueryExtension(Query if heeds_query else None)] if claims_query else []
    client = MemoryClient(
        items=items, collections=collections, self_link=self_link, extensions=extensions
    )
    api = StacApi(
        settings=ApiSettings(),
        client=client,
        extensions=extensions,
        search_post_request_model=create_post_request_model(extensions),
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api.app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", client.searches
    finally:
        server.should_exit = True
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yields the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def unused_address() -> str:
    """A URL on this machine at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def derived_items(sample_item: str, collection: str = "sentinel-2-l2a") -> list[Item]:
    """Five variants of the sample's item, one per month from 2023-05.

    Each has more clouds and lies further east than the one before; the last states no cloud cover.
    """
    sample = json.loads(Path(sample_item).read_text())
    for asset in sample["assets"].values():
        asset["href"] = (Path(sample_item).parent / asset["href"]).resolve().as_uri()
    items = []
    for number in range(5):
        item = copy.deepcopy(sample) | {"id": f"T33UUB_{number}", "collection": collection}
        item["properties"]["datetime"] = f"2023-0{5 + number}-15T10:00:00Z"
        if number < 4:
            item["properties"]["eo:cloud_cover"] = 20.0 * number
        [ring] = item["geometry"]["coordinates"]
        item["geometry"]["coordinates"] = [[[east + number, north] for east, north in ring]]
        west, south, east, north = item["bbox"]
        item["bbox"] = [west + number, south, east + number, north]
        items.append(item)
    return items
