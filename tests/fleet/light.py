"""Work that takes no time, and what a source such as `light://NAME?fail=2` makes it do.

`fail=N`: the first N attempts fail. `kill=N`: the first N attempts kill their worker. `raise=N`:
the first N attempts raise an unexpected error. `absent=1`: it is no product. `begun=N`, `ended=N`:
wait until N products have begun or ended. `gate=1`: wait until `open_gate` was called. Every
attempt appends to a file of its product.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pystac

from decametre.errors import CorruptDataError, NotAProductError
from decametre.fleet import preload
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import ProductSummary
from decametre.io.outputs import write_json
from decametre.io.stac_item import DERIVED_FROM, SETTINGS, source_href
from decametre.io.staging import Staging
from decametre.version import __version__

ALWAYS = 1000

GATE = ".gate"


def entry(name, size=1, **actions):
    """A product, and what happens to it."""
    query = "&".join(f"{key}={value}" for key, value in actions.items())
    return ProductEntry(name, f"light://{name}?{query}", size)


def write_item(source, output, settings):
    """Write the files of a completed product."""
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
    """Needs as many bytes of memory as its product's size."""

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
        actions = {key: int(value) for key, [value] in parse_qs(urlsplit(source).query).items()}
        name = output.stem
        attempt = len(marks_of(self.marks, name, "begun"))
        with stages("open"):
            self._mark(name, "begun")
        for what in {"begun", "ended"} & actions.keys():
            wait_until(lambda what=what: self._count(what) >= actions[what])
        if "gate" in actions:
            wait_until((Path(self.marks) / GATE).exists)
        if attempt < actions.get("kill", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if attempt < actions.get("fail", 0):
            raise CorruptDataError(f"{name} is spoiled", transient=True)
        if "absent" in actions:
            raise NotAProductError(f"{name} is no product")
        if attempt < actions.get("raise", 0):
            raise ZeroDivisionError(name)
        with stages("compute"):
            write_item(source, output, self.settings())
        self._mark(name, "ended")
        return ProductSummary(name, 36, "cpu", {}, None)

    def _mark(self, name, what):
        worker = preload.here.address if preload.here else "none"
        with (Path(self.marks) / name).open("a") as file:
            file.write(f"{what} {worker} {os.getpid()} {time.monotonic_ns()}\n")

    def _count(self, what):
        paths = [path for path in Path(self.marks).iterdir() if path.name != GATE]
        return sum(bool(marks_of(self.marks, path.name, what)) for path in paths)


class Mark(NamedTuple):
    """When and where an attempt began or ended."""

    worker: str
    process: int
    time: int


def marks_of(folder, name, what):
    """The marks of all attempts at a product that have begun, or that ended well."""
    path = Path(folder) / name
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Mark(line[1], int(line[2]), int(line[3])) for line in lines if line[0] == what]


def open_gate(folder):
    """Let products with `gate` go on."""
    (Path(folder) / GATE).touch()


def wait_until(condition):
    """Wait for something that is sure to happen; the limit only ends a test that hangs."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "nothing happened for 300 seconds"
        time.sleep(0.01)
