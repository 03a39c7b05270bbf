"""Two ranks on two hosts: network namespaces with a link between them, which is cut."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from decametre.training.checkpoint import checksum_of, read_checkpoint, read_newest_checkpoint
from tests.recipes.test_training_job import EVENT_STEP, command
from tests.support.processes import REPOSITORY, Process
from tests.training.team import finish, variables

pytestmark = pytest.mark.slow

CUT_TIMEOUT = 40
"""Seconds instead of minutes for gradients and everything else, where the link remains cut."""

CLONE_NEWNET = 0x40000000
"""For setns(2), which Python offers from 3.12 on."""

PROGRAM = f"""
import ctypes, os, sys
with open(f"/run/netns/{{sys.argv.pop(1)}}") as host:
    assert ctypes.CDLL(None).setns(host.fileno(), {CLONE_NEWNET}) == 0

from datetime import timedelta
from decametre.training import ranks

if "CUT_TIMEOUT" in os.environ:
    timeout = timedelta(seconds=float(os.environ["CUT_TIMEOUT"]))
    ranks.PROCESS_GROUP_TIMEOUT = ranks.GRADIENT_TIMEOUT = timeout
from tests.recipes.training_process import main

main()
"""


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

    def start(self, words, environment):
        """One rank on each host."""
        return [
            Process(
                [sys.executable, "-c", PROGRAM, name, *words],
                env=variables(host, 2, 29400)
                | {"MASTER_ADDR": "10.213.0.1", "GLOO_SOCKET_IFNAME": "link0"}
                | environment,
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
def running(hosts, folder, sample_item, event=None, **environment):
    """Two ranks; with an `event`, rank 0 pauses after a step: see `training_process`."""
    events = {} if event is None else {"0": [EVENT_STEP, str(event)]}
    words = command(sample_item, folder, events, **{"distribution.balance": "equal"})
    ranks = hosts.start(words[3:], environment)
    try:
        yield ranks
    finally:
        hosts.restore()
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(signal.SIGKILL)


def wait_until(condition, ranks):
    while not condition():
        assert all(rank.poll() is None for rank in ranks)
        time.sleep(0.05)


def lost_segments(rank):
    """How many TCP segments the host of a rank has sent repeatedly, since they were lost."""
    lines = Path(f"/proc/{rank.pid}/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(dict(zip(names, values, strict=True))["RetransSegs"])


def weights(folder):
    return checksum_of({}, read_checkpoint(folder / "last.safetensors").tensors)


@pytest.fixture(scope="module")
def undisturbed(hosts, sample_item, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts") / "undisturbed"
    with running(hosts, folder, sample_item) as ranks:
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    return weights(folder)


def test_a_cut_link_ends_both_ranks_and_they_resume_when_it_is_repaired(
    hosts, undisturbed, sample_item, tmp_path
):
    folder, event = tmp_path / "cut", tmp_path / "event"
    with running(hosts, folder, sample_item, event, CUT_TIMEOUT=str(CUT_TIMEOUT)) as ranks:
        wait_until(event.with_suffix(".reached").exists, ranks)
        hosts.cut()
        event.with_suffix(".continue").touch()
        ended = finish(ranks)
    for rank, (status, _, err) in enumerate(ended):
        assert status == 2, err
        (line,) = [line for line in err.splitlines() if "error" in line]
        assert f"decametre: error: rank {rank} of 2 on " in line
        assert "another rank ended, or the network connection to it broke" in line
        assert "Traceback" not in err
    assert read_newest_checkpoint(folder).step == 12
    with running(hosts, folder, sample_item) as ranks:
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert "resuming at step 12" in ended[0][2]
    assert weights(folder) == undisturbed


def test_a_short_cut_changes_nothing(hosts, undisturbed, sample_item, tmp_path):
    folder, event = tmp_path / "short", tmp_path / "event"
    with running(hosts, folder, sample_item, event) as ranks:
        wait_until(event.with_suffix(".reached").exists, ranks)
        hosts.cut()
        before = lost_segments(ranks[0])
        event.with_suffix(".continue").touch()
        wait_until(lambda: lost_segments(ranks[0]) > before, ranks)
        steps = [
            json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()
        ]
        assert steps == [6, 12]  # neither rank can pass step 17
        hosts.restore()
        ended = finish(ranks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert "resuming" not in ended[0][2]
    assert weights(folder) == undisturbed
