"""The journal of a fleet: what happened when, a JSON object a line.

The driver alone appends to it, so that a line is never mixed with another. Everything that is said
of a run while it lasts or later (progress, status, report, plan) is folded from these lines.
docs/fleet.md lists their kinds and fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from decametre.errors import FleetError
from decametre.fleet.inputs.product_entry import FOLDER

Event = dict[str, Any]


def events_path(out: Path) -> Path:
    """Where the journal of a folder of results lies."""
    return out / FOLDER / "events.jsonl"


class Journal:
    """Appends events; a context manager.

    Args:
        out: The folder of results. A last line that was cut short by a kill is removed.

    Raises:
        OSError: The journal cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self._path = events_path(out)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b")
        if size := self._path.stat().st_size:
            # Not read into memory: the runs before may have been long.
            with mmap(self._file.fileno(), 0, access=ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
            if end < size:
                self._file.truncate(end)
        return self

    def write(self, kind: str, **fields: Any) -> Event:
        """Append an event of now, and return it."""
        assert self._file is not None
        event: Event = {"event": kind, "time": round(time.time(), 3), **fields}
        self._file.write(json.dumps(event).encode() + b"\n")
        self._file.flush()
        return event

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


def read_events(out: Path) -> Iterator[Event]:
    """The events of a folder of results, oldest first; none where no fleet has been at work.

    A last line that was cut short is left out.

    Raises:
        FleetError: A line before the last is no event.
    """
    path = events_path(out)
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise FleetError(
                        f"{path}, line {number}: not an event of a fleet; remove that line"
                    ) from error
