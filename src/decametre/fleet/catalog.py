"""The STAC catalog of all results in an output folder, which is complete after each product.

`catalog.json` links to pages in `fleet/pages/`, and each page to the items of up to 500 products in
the order of completion. So the bytes written per product do not grow with their number.

Files are replaced atomically: first the item, then its page, then the link to a new page. So a
reader never finds an incomplete file, nor a link to a page that does not exist. If the driver is
killed before it writes a link, the next run adds it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Container, KeysView, Mapping
from pathlib import Path
from typing import Any

import pystac
from pystac import MediaType, RelType

from decametre.errors import OutputError
from decametre.files import read_json, write_file
from decametre.fleet.inputs.product_entry import FOLDER

log = logging.getLogger(__name__)

PAGE = 500
"""Products of a page. All its links are rewritten for each new product."""

_UP = "../../"
"""Relative path from a page to the output folder."""


class Catalog:
    """The catalog of an output folder, created or extended. Only one process may write it.

    Unreadable pages are emptied with a warning; their items are linked again when they are added.
    The root is rewritten if it does not link to all pages.

    Args:
        out: The output folder, which exists.
        title: Title of the catalog.

    Raises:
        OutputError: There is a `catalog.json` of another program, or it cannot be written.
    """

    def __init__(self, out: Path, title: str) -> None:
        self._out, self._title = out, title
        self._root, self._folder = out / "catalog.json", out / FOLDER / "pages"
        if self._root.exists() and not self._folder.is_dir():
            raise OutputError(
                f"{self._root} exists and was not written by a fleet ({self._folder} is missing); "
                "move it away, or choose another folder"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be created ({error.strerror})") from error
        self._pages: list[dict[str, str]] = []  # for each page, paths of items by name
        self._page_of: dict[str, int] = {}
        self._read()

    @property
    def names(self) -> KeysView[str]:
        """The linked products, page by page."""
        return self._page_of.keys()

    def __contains__(self, name: object) -> bool:
        return name in self._page_of

    def __len__(self) -> int:
        return len(self._page_of)

    def add(self, name: str, item: str) -> None:
        """Link to an item, unless it is linked already.

        The item's existence is not checked: a network file system may show a new file late.

        Args:
            name: Name of the product.
            item: Path of its item in the output folder, such as `NAME/NAME.json`.

        Raises:
            OutputError: The catalog cannot be written; it is unchanged.
        """
        self.add_all({name: item})

    def add_all(self, items: Mapping[str, str]) -> None:
        """Link to many items, writing each page once; see `add`."""
        new = [(name, item) for name, item in items.items() if name not in self._page_of]
        at = 0
        while at < len(new):
            full = not self._pages or len(self._pages[-1]) >= PAGE
            index = len(self._pages) - (not full)
            page = {} if full else self._pages[index]
            part = dict(new[at : at + PAGE - len(page)])
            self._write_page(index, page | part)
            if full:
                self._write_root(len(self._pages) + 1)
                self._pages.append({})
            self._pages[index] |= part
            self._page_of |= dict.fromkeys(part, index)
            at += len(part)

    def prune(self, seen: Container[str] = ()) -> list[str]:
        """Remove the links to items that no longer exist, such as those in deleted folders.

        Args:
            seen: Products whose items are known to exist; they are not checked again.

        Returns:
            Names of the removed products.

        Raises:
            OutputError: The catalog cannot be written.
        """
        removed = []
        for index, page in enumerate(self._pages):
            # A string: creating a Path for each of 100,000 items takes longer than the check.
            kept = {
                name: item
                for name, item in page.items()
                if name in seen or os.path.isfile(f"{self._out}/{item}")  # noqa: PTH113
            }
            if len(kept) < len(page):
                self._write_page(index, kept)
                self._pages[index] = kept
                removed += [name for name in page if name not in kept]
        for name in removed:
            del self._page_of[name]
        return removed

    def _read(self) -> None:
        """Read the existing pages, and repair those that are damaged or missing."""
        found = [int(path.stem) for path in self._folder.glob(f"{'[0-9]' * 5}.json")]
        for index in range(max(found, default=0)):
            page = _links_of_page(self._path(index))
            if page is None:
                log.warning(
                    "%s is missing or damaged; its items are linked again when a run finds them",
                    self._path(index),
                )
                page = {}
                self._write_page(index, page)
            self._pages.append(page)
            self._page_of |= dict.fromkeys(page, index)
        children = [self._child(index) for index in range(len(self._pages))]
        if _children_of_root(self._root) != children:
            self._write_root(len(self._pages))

    def _path(self, index: int) -> Path:
        return self._folder / f"{index + 1:05d}.json"

    def _child(self, index: int) -> str:
        return f"./{self._path(index).relative_to(self._out).as_posix()}"

    def _write_root(self, pages: int) -> None:
        links = [_link(RelType.ROOT, "./catalog.json", self._title)]
        links += [
            _link(RelType.CHILD, self._child(index), _page_title(index)) for index in range(pages)
        ]
        description = "Results of decametre fleet: 500 products per page, by time of completion"
        _write(self._root, _catalog("decametre-fleet", self._title, description, links))

    def _write_page(self, index: int, page: Mapping[str, str]) -> None:
        links = [
            _link(RelType.ROOT, f"{_UP}catalog.json", self._title),
            _link(RelType.PARENT, f"{_UP}catalog.json", self._title),
        ]
        links += [
            _link(RelType.ITEM, f"{_UP}{item}", name, MediaType.GEOJSON)
            for name, item in page.items()
        ]
        description = f"{_page_title(index)} of {self._title}, by time of completion"
        name = f"decametre-fleet-{index + 1:05d}"
        _write(self._path(index), _catalog(name, _page_title(index), description, links))


def _page_title(index: int) -> str:
    return f"Products {index * PAGE + 1} to {(index + 1) * PAGE}"


def _catalog(
    name: str, title: str, description: str, links: list[dict[str, str]]
) -> dict[str, Any]:
    head = pystac.Catalog(name, description, title=title).to_dict(include_self_link=False)
    # Links are not pystac objects, since pystac resolves each link before writing it.
    return head | {"links": links}


def _link(relation: str, href: str, title: str, media_type: str = MediaType.JSON) -> dict[str, str]:
    return {"rel": relation, "href": href, "type": media_type, "title": title}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, json.dumps(content))


def _links(path: Path, relation: str) -> list[dict[str, str]] | None:
    """The links of a catalog with a relation; None if it is missing or damaged."""
    try:
        links = read_json(path)["links"]
        return [link for link in links if link["rel"] == relation]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error


def _links_of_page(path: Path) -> dict[str, str] | None:
    links = _links(path, RelType.ITEM)
    if links is None:
        return None
    return {link["title"]: link["href"].removeprefix(_UP) for link in links}


def _children_of_root(path: Path) -> list[str] | None:
    links = _links(path, RelType.CHILD)
    return None if links is None else [link["href"] for link in links]
