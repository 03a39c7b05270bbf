"""The journal of a fleet: one JSON object per line for each event, with its time.

Only the driver writes it, so lines never mix. Progress, status, report and plan are computed from
these events. docs/fleet.md lists the kinds of events and their fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

from decametre.errors import FleetError
from decametre.files import is_locked, parse_json
from decametre.fleet.event_schema import check_event
from decametre.fleet.inputs.product_entry import FOLDER

Event = dict[str, Any]


def events_path(out: Path) -> Path:
    """The journal of an output folder."""
    return out / FOLDER / "events.jsonl"


def lock_path(out: Path) -> Path:
    """The file that a driver keeps locked while it uses an output folder."""
    return out / FOLDER / "lock"


def driver_is_running(out: Path) -> bool:
    """Whether a driver uses the output folder; the lock of a killed driver is released."""
    try:
        return is_locked(lock_path(out))
    except OSError:  # the file does not exist, or the file system does not support locks
        return False


class Journal:
    """Appends events to an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, kind: str, **fields: Any) -> Event:
        """Append an event with the current time, and return it.

        Raises:
            OSError: The file cannot be written.
        """
        event: Event = {"event": kind, "time": round(time.time(), 3), **fields}
        self._file.write(json.dumps(event).encode() + b"\n")
        self._file.flush()
        return event


@contextmanager
def open_journal(out: Path) -> Iterator[Journal]:
    """Open the journal of an output folder, and remove an incomplete last line.

    Raises:
        OSError: The journal cannot be written.
    """
    path = events_path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if size := path.stat().st_size:
            # Mapped rather than read: the journal of earlier runs may be large.
            with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
            if end < size:  # a run was killed while it wrote this line
                file.truncate(end)
        yield Journal(file)


def read_events(out: Path) -> Iterator[Event]:
    """The events of an output folder, oldest first; none if no fleet has used it.

    An incomplete last line is skipped.

    Raises:
        FleetError: Another line is not an event.
    """
    path = events_path(out)
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                try:
                    event = parse_json(line)
                    check_event(event)
                except ValueError as error:
                    raise FleetError(
                        f"{path}, line {number}: not an event of a fleet ({error!s:.200}); remove "
                        "that line"
                    ) from error
                yield event


def run_events(out: Path) -> Iterator[Event]:
    """The event `run` of each run in an output folder, oldest first; see `read_events`."""
    return (event for event in read_events(out) if event["event"] == "run")
