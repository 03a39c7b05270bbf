"""What is seen of a process from outside."""

import sys

import pytest

from benchmarks.process_monitor import run_monitored
from decametre.errors import DecametreError

HOLDS = "import time; held = b'x' * 300_000_000; time.sleep(0.6); print('held')"


def test_a_short_peak_is_seen():
    seen = run_monitored([sys.executable, "-c", HOLDS])
    assert (seen.killed, seen.output) == (False, "held\n")
    assert seen.seconds > 0.6
    assert seen.processor_seconds > 0
    assert 0.3 < seen.peak_memory_gb < 0.4


def test_it_is_killed_when_enough_is_seen():
    seen = run_monitored([sys.executable, "-c", "import time; time.sleep(60)"], lambda s: s > 0.2)
    assert seen.killed
    assert 0.2 < seen.seconds < 30


def test_a_failure_is_told():
    with pytest.raises(DecametreError, match="failed with status 3"):
        run_monitored([sys.executable, "-c", "raise SystemExit(3)"])
