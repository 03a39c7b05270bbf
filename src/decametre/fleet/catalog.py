"""The STAC catalog of all results in a folder: grown item by item, complete at every moment.

`catalog.json` links to pages in `fleet/pages/`, and each page to the items of up to 500 products,
in the order in which they were done. So what is written for a product does not grow with their
number.

A file is written under another name and renamed: first the page, then the link to it, both after
the item. A reader never finds half a file, nor a link to a page that is not there. What a killed
driver did not link is linked when it is added again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Container, KeysView, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pystac
from pystac import MediaType, RelType

from decametre.errors import OutputError
from decametre.fleet.inputs.product_entry import FOLDER

log = logging.getLogger(__name__)

PAGE = 500
"""Products of a page: all their links are written again with each of them."""

_UP = "../../"
"""From a page to the folder of results."""


class Catalog:
    """The catalog of a folder, which it makes or goes on with. One process may write it.

    Pages that cannot be read are emptied, with a warning: their items are linked again when they
    are added. The root is made anew where it does not link to all pages.

    Args:
        out: The folder of results, which exists.
        title: Of the whole.

    Raises:
        OutputError: There is a `catalog.json` that is not a fleet's, or it cannot be written.
    """

    def __init__(self, out: Path, title: str) -> None:
        self._out, self._title = out, title
        self._root, self._folder = out / "catalog.json", out / FOLDER / "pages"
        if self._root.exists() and not self._folder.is_dir():
            raise OutputError(
                f"{self._root} is there already and no fleet made it ({self._folder} is missing); "
                "move it away, or choose another folder"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be made ({error.strerror})") from error
        self._pages: list[dict[str, str]] = []  # of each, the items' paths in `out` by name
        self._page_of: dict[str, int] = {}
        self._read()

    @property
    def names(self) -> KeysView[str]:
        """The products that are linked, page by page."""
        return self._page_of.keys()

    def __contains__(self, name: object) -> bool:
        return name in self._page_of

    def __len__(self) -> int:
        return len(self._page_of)

    def add(self, name: str, item: str) -> None:
        """Link to an item. One that is linked stays where it is.

        Whether the item is there is not looked at: a network file system may show it late.

        Args:
            name: Of the product.
            item: Path of its item in the folder of results, such as `NAME/NAME.json`.

        Raises:
            OutputError: The catalog cannot be written; it stays as it was.
        """
        self.add_all({name: item})

    def add_all(self, items: Mapping[str, str]) -> None:
        """Link to many items, with each page written once; see `add`."""
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
        """Drop the links to items that are gone, as from folders that a user deleted.

        Args:
            seen: Products whose items were seen just now; they are not looked at again.

        Returns:
            The names of the products that were dropped.

        Raises:
            OutputError: The catalog cannot be written.
        """
        dropped = []
        for index, page in enumerate(self._pages):
            # One string: a Path for each of 100,000 items takes longer than looking at them.
            kept = {
                name: item
                for name, item in page.items()
                if name in seen or os.path.isfile(f"{self._out}/{item}")  # noqa: PTH113
            }
            if len(kept) < len(page):
                self._write_page(index, kept)
                self._pages[index] = kept
                dropped += [name for name in page if name not in kept]
        for name in dropped:
            del self._page_of[name]
        return dropped

    def _read(self) -> None:
        """Take up the pages that are there; mend what a kill or a broken disk left."""
        found = [int(path.stem) for path in self._folder.glob(f"{'[0-9]' * 5}.json")]
        for index in range(max(found, default=0)):
            page = _links_of_page(self._path(index))
            if page is None:
                log.warning(
                    "%s is missing or damaged; the items that it linked to are linked again as a "
                    "run comes to them",
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
            _link(RelType.CHILD, self._child(index), _places(index)) for index in range(pages)
        ]
        words = "Results of decametre fleet: up to 500 products a page, as they were done"
        _write(self._root, _catalog("decametre-fleet", self._title, words, links))

    def _write_page(self, index: int, page: Mapping[str, str]) -> None:
        links = [
            _link(RelType.ROOT, f"{_UP}catalog.json", self._title),
            _link(RelType.PARENT, f"{_UP}catalog.json", self._title),
        ]
        links += [
            _link(RelType.ITEM, f"{_UP}{item}", name, MediaType.GEOJSON)
            for name, item in page.items()
        ]
        words = f"{_places(index)} of {self._title}, as they were done"
        name = f"decametre-fleet-{index + 1:05d}"
        _write(self._path(index), _catalog(name, _places(index), words, links))


def _places(index: int) -> str:
    return f"Products {index * PAGE + 1} to {(index + 1) * PAGE}"


def _catalog(name: str, title: str, words: str, links: list[dict[str, str]]) -> dict[str, Any]:
    head = pystac.Catalog(name, words, title=title).to_dict(include_self_link=False)
    # Not as objects of pystac, which resolves every link to write it.
    return head | {"links": links}


def _link(relation: str, href: str, title: str, media_type: str = MediaType.JSON) -> dict[str, str]:
    return {"rel": relation, "href": href, "type": media_type, "title": title}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file at once, or leave it as it was."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _links(path: Path, relation: str) -> list[dict[str, str]] | None:
    """The links of a kind in a catalog; None where it is missing or damaged."""
    try:
        links = json.loads(path.read_bytes())["links"]
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
