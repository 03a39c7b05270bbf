"""When a rank is started again, with fake processes and a fake clock."""

import signal

import psutil
import pytest

from decametre.training import supervisor
from decametre.training.supervisor import (
    MAX_QUICK_RESTARTS,
    QUICK_SECONDS,
    RESTART_STATUS,
    STOPPED_SECONDS,
    supervise,
)


class World:
    """Children that end with given statuses after given seconds; None: stopped for ever."""

    def __init__(self, *lives):
        self.lives, self.started, self.now = list(lives), [], 0.0

    def start(self, restarts):
        self.started.append(restarts)
        seconds, status = self.lives.pop(0)
        return Child(self, self.now + seconds, status)

    def sleep(self, seconds):
        self.now += seconds

    def supervise(self):
        return supervise("rank 1 of 2", self.start, lambda: self.now, self.sleep)


class Child:
    def __init__(self, world, end, ends_with):
        self.world, self.end, self.ends_with, self.signals = world, end, ends_with, []

    def poll(self):
        return self.ends_with if self.world.now >= self.end else None

    def status(self):
        return psutil.STATUS_STOPPED if self.ends_with is None else psutil.STATUS_RUNNING

    def kill(self):
        self.end, self.ends_with = self.world.now, -signal.SIGKILL

    def send_signal(self, number):
        self.signals.append(number)


LONG = QUICK_SECONDS + 1


@pytest.mark.parametrize("status", [0, 1, 2, 130])
def test_a_rank_that_ends_itself_is_not_started_again(status):
    world = World((1.0, status))
    assert world.supervise() == status
    assert world.started == [0]


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGSEGV, RESTART_STATUS])
def test_a_killed_rank_is_started_again(status):
    world = World((LONG, status), (1.0, 0))
    assert world.supervise() == 0
    assert world.started == [0, 1]


def test_a_rank_that_is_stopped_is_killed_and_started_again():
    world = World((1e9, None), (1.0, 0))
    assert world.supervise() == 0
    assert STOPPED_SECONDS < world.now < 2 * STOPPED_SECONDS


def test_a_rank_that_always_ends_soon_is_given_up():
    world = World(*[(1.0, -signal.SIGKILL)] * 100)
    assert world.supervise() == 128 + signal.SIGKILL
    assert len(world.started) == MAX_QUICK_RESTARTS + 1


def test_ranks_that_live_long_are_always_started_again():
    world = World(*[(LONG, -signal.SIGKILL)] * 50, (1.0, 0))
    assert world.supervise() == 0


def test_a_request_to_stop_goes_to_the_rank_and_is_its_end(monkeypatch):
    world = World((10.0, -signal.SIGTERM))
    child = world.start(0)
    world.start = lambda restarts: child

    def sleep(seconds):
        if not child.signals:
            signal.raise_signal(signal.SIGTERM)
        world.now += seconds

    world.sleep = sleep
    before = signal.getsignal(signal.SIGTERM)
    assert world.supervise() == 128 + signal.SIGTERM
    assert child.signals == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_child_knows_how_often_it_was_started(monkeypatch):
    monkeypatch.setenv(supervisor.VARIABLE, "3")
    assert supervisor.is_supervised()
    assert supervisor.restart_count() == 3
