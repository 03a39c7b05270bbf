"""Time and memory of a process, measured from outside."""

import itertools
import math
import sys

import pytest

from benchmarks import process_monitor
from benchmarks.process_monitor import run_monitored
from decametre.errors import DecametreError

HOLDS = """
import sys, time
from pathlib import Path

held = b"x" * 300_000_000
Path(sys.argv[1], "held").touch()
while not Path(sys.argv[1], "release").exists():
    time.sleep(0.01)
print("held")
"""


def test_a_peak_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(
        process_monitor, "_MEASURING_SHARE", math.inf
    )  # measure memory in every turn
    turns = itertools.count()

    def release_after_a_measurement(seconds):
        if (tmp_path / "held").exists() and next(turns) > 0:
            (tmp_path / "release").touch()
        return False

    found = run_monitored([sys.executable, "-c", HOLDS, str(tmp_path)], release_after_a_measurement)
    assert (found.killed, found.output) == (False, "held\n")
    assert found.cpu_seconds > 0
    assert 0.3 < found.peak_memory_gb < 0.4


def test_a_process_is_killed_on_request():
    found = run_monitored([sys.executable, "-c", "import time; time.sleep(600)"], lambda s: s > 0.2)
    assert found.killed
    assert found.seconds > 0.2


def test_a_failure_is_an_error():
    with pytest.raises(DecametreError, match="failed with status 3"):
        run_monitored([sys.executable, "-c", "raise SystemExit(3)"])
