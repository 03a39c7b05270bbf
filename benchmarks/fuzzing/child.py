"""The process that reads mutated inputs of one target: `python -m benchmarks.fuzzing.child`.

It prints a line of JSON before each input, and one after it. A process that dies or hangs is
replaced by its parent, `fuzz.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzzing.file_targets import Attempt
from benchmarks.fuzzing.targets import TARGETS
from decametre.errors import DecametreError

ADDRESS_SPACE = 4 << 30
"""Bytes of address space that reading may add; memory is measured apart."""


def try_input(attempt: Attempt, seed: str) -> tuple[str, str]:
    """Make and read one input; returns `accepted`, `refused` or `error`, and the message."""
    try:
        attempt(Random(seed))
    except DecametreError as error:
        text = str(error)
        return ("refused", text) if "\n" not in text else ("error", f"several lines: {text!r}")
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:
        return "error", traceback.format_exc()
    return "accepted", ""


def _peak() -> int:
    """Peak of resident memory since the last reset, in bytes."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(next(li for li in text.splitlines() if li.startswith("VmHWM")).split()[1])


def _limit_address_space() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(name: str, seed: int, numbers: Iterable[int]) -> None:
    """Try inputs by number."""
    logging.getLogger("decametre").addHandler(logging.NullHandler())
    logging.getLogger("decametre").propagate = False
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        attempt = TARGETS[name].prepare(Path(folder))
        _limit_address_space()
        for number in numbers:
            _print({"start": number})
            Path("/proc/self/clear_refs").write_text("5")
            before, began = _peak(), time.process_time()
            outcome, message = try_input(attempt, f"{seed}/{name}/{number}")
            seconds, memory = time.process_time() - began, max(0, _peak() - before)
            _print(
                {
                    "number": number,
                    "outcome": outcome,
                    "message": message[-2000:],
                    "seconds": round(seconds, 3),
                    "memory": memory,
                }
            )


def _print(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--stop", type=int, required=True)
    given = parser.parse_args()
    run(given.name, given.seed, range(given.first, given.stop))
