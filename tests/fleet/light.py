"""Work that costs nothing: a source says what is to happen, and every attempt leaves a mark.

`light://NAME?sleep=0.5`: it takes so many seconds. `?fail=2`: two attempts fail. `?kill=1`: one
attempt ends its worker. `?raise=1`: one attempt meets what nobody foresaw.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pystac

from decametre.errors import CorruptDataError
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import ProductSummary
from decametre.io.outputs import write_json
from decametre.io.stac_item import DERIVED_FROM, SETTINGS, source_href
from decametre.io.staging import Staging
from decametre.version import __version__

ALWAYS = 1000


def entry(name, size=1, **wishes):
    """A product to which something happens."""
    return ProductEntry(
        name, f"light://{name}?" + "&".join(f"{k}={v}" for k, v in wishes.items()), size
    )


def write_item(source, output, settings):
    """What stands when a product is done."""
    item = pystac.Item(
        output.stem,
        {"type": "Point", "coordinates": [0, 0]},
        [0, 0, 0, 0],
        datetime(2023, 8, 17, tzinfo=UTC),
        {"processing:software": {"decametre": __version__}, SETTINGS: settings},
    )
    item.add_asset("data", pystac.Asset(f"./{output.name}"))
    item.add_link(pystac.Link(DERIVED_FROM, source_href(source, output.parent)))
    files = output.name, f"{output.stem}.json"
    with Staging(output, overwrite=True, needed=0) as staging:
        staging.path(files[0]).write_text(source)
        write_json(staging.path(files[1]), item.to_dict(include_self_link=False))
        staging.commit(*files)


@dataclass(frozen=True)
class Light:
    """Takes a product's size for the memory that it needs."""

    marks: str
    kind: str = "light"

    verb = "sharpen"
    suffix = ".tif"

    def check(self):
        pass

    def settings(self):
        return {"kind": self.kind}

    def memory(self, size):
        return size or 1

    def do(self, source, output, stages, scratch):
        wishes = {key: float(value) for key, [value] in parse_qs(urlsplit(source).query).items()}
        attempt = len(marks_of(self.marks, output.stem, "begun"))
        with stages("open"):
            self._mark(output.stem, "begun")
        if attempt < wishes.get("kill", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(wishes.get("sleep", 0))
        if attempt < wishes.get("fail", 0):
            raise CorruptDataError(f"{output.stem} is spoiled")
        if attempt < wishes.get("raise", 0):
            raise ZeroDivisionError(output.stem)
        with stages("compute"):
            write_item(source, output, self.settings())
        self._mark(output.stem, "ended")
        return ProductSummary(output.stem, 36, "cpu", {}, None)

    def _mark(self, name, what):
        line = f"{name} {what} {os.getpid()} {time.time()}\n"
        with (Path(self.marks) / name).open("a") as file:
            file.write(line)


def marks_of(folder, name, what):
    """Process and time of all attempts at a product that began, or ended well."""
    path = Path(folder) / name
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(line[2]), float(line[3])) for line in lines if line[1] == what]
