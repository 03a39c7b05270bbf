"""Two hosts, each a network namespace of its own, and the link between them.

Shorter patience than the real one: whoever waits for ten minutes there, waits for seconds here.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from decametre.training.checkpoint import checksum_of, read_checkpoint, read_newest_checkpoint
from tests.recipes.test_training_job import command, wait_for
from tests.support.processes import REPOSITORY, Process
from tests.training.team import finish, variables

PATIENCE, GRADIENT_PATIENCE = 20, 8
"""Seconds; the processes must find each other within the first, on a busy machine too."""

CUT = 2
"""Seconds of a short cut."""

CLONE_NEWNET = 0x40000000
"""For setns(2), which Python has itself from 3.12 on."""

PROGRAM = f"""
import ctypes, os, sys
with open(f"/run/netns/{{sys.argv.pop(1)}}") as host:
    assert ctypes.CDLL(None).setns(host.fileno(), {CLONE_NEWNET}) == 0

from datetime import timedelta
from decametre.training import ranks

ranks.PATIENCE = timedelta(seconds={PATIENCE})
ranks.GRADIENT_PATIENCE = timedelta(seconds={GRADIENT_PATIENCE})
from decametre.cli.main import main

main()
"""

STEPS = 90


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, text=True)


class Hosts:
    """Namespaces 0 and 1, with an Ethernet link between them."""

    def __init__(self):
        self.names = [f"decametre-{os.getpid()}-{host}" for host in (0, 1)]

    def make(self):
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        first, second = self.names
        peer = ("type", "veth", "peer", "name", "link0", "netns", second)
        ip("link", "add", "link0", "netns", first, *peer)
        for host, name in enumerate(self.names):
            ip("-n", name, "address", "add", f"10.213.0.{host + 1}/24", "dev", "link0")
            ip("-n", name, "link", "set", "link0", "up")

    def remove(self):
        for name in self.names:  # the link goes with them
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def cut(self):
        ip("-n", self.names[1], "link", "set", "link0", "down")

    def restore(self):
        ip("-n", self.names[1], "link", "set", "link0", "up")

    def start(self, words):
        """One rank on each host."""
        return [
            Process(
                [sys.executable, "-c", PROGRAM, name, *words],
                env=variables(host, 2, 29400)
                | {"MASTER_ADDR": "10.213.0.1", "GLOO_SOCKET_IFNAME": "link0"},
                cwd=REPOSITORY,
            )
            for host, name in enumerate(self.names)
        ]


@pytest.fixture(scope="module")
def hosts():
    if not shutil.which("ip"):
        pytest.skip("there is no program `ip`")
    made = Hosts()
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    yield made
    made.remove()


@contextmanager
def running(hosts, folder, sample_item):
    words = command(
        sample_item, folder, **{"optimization.steps": STEPS, "distribution.balance": "equal"}
    )[3:]
    ranks = hosts.start(words)
    try:
        yield ranks
    finally:
        hosts.restore()
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(signal.SIGKILL)


def weights(folder):
    return checksum_of({}, read_checkpoint(folder / "last.safetensors").tensors)


@pytest.fixture(scope="module")
def undisturbed(hosts, sample_item, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts") / "undisturbed"
    with running(hosts, folder, sample_item) as ranks:
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    return weights(folder)


def test_a_cut_link_ends_both_ranks_and_they_go_on_when_it_is_mended(
    hosts, undisturbed, sample_item, tmp_path
):
    folder = tmp_path / "cut"
    with running(hosts, folder, sample_item) as ranks:
        wait_for(folder / "last.safetensors", ranks)
        hosts.cut()
        begun = time.monotonic()
        ended = finish(ranks)
        taken = time.monotonic() - begun
    assert taken < PATIENCE + 10
    for rank, (status, _, err) in enumerate(ended):
        assert status == 2, err
        (line,) = [line for line in err.splitlines() if "error" in line]
        assert f"decametre: error: rank {rank} of 2 on " in line
        assert "another rank ended, or the network to it broke" in line
        assert "Traceback" not in err
    assert 0 < read_newest_checkpoint(folder).step < STEPS
    with running(hosts, folder, sample_item) as ranks:
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert "resuming at step" in ended[0][2]
    assert weights(folder) == undisturbed


def test_a_short_cut_changes_nothing(hosts, undisturbed, sample_item, tmp_path):
    folder = tmp_path / "short"
    log = folder / "log.jsonl"
    with running(hosts, folder, sample_item) as ranks:
        wait_for(folder / "last.safetensors", ranks)
        hosts.cut()
        time.sleep(CUT / 4)
        before = log.read_text()
        time.sleep(CUT)
        assert log.read_text() == before  # it was a cut
        hosts.restore()
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert "resuming" not in ended[0][2]
    assert weights(folder) == undisturbed
