"""Decisions about the members of a run, without processes."""

import os
import socket
import threading

import pytest

from decametre.training import membership
from decametre.training.generations import (
    GenerationFolder,
    GenerationLostError,
    Member,
    RunFinishedError,
)
from decametre.training.membership import (
    HEARTBEAT_TIMEOUT,
    MEETING_SECONDS,
    Heartbeats,
    Membership,
    all_arrived,
)

FIRST, SECOND, THIRD, NEW = (Member(rank, "elsewhere", 100 + rank) for rank in range(4))


def ended_member(rank=1):
    return Member(rank, socket.gethostname(), 2**22 + 1)  # above Linux's largest process id


@pytest.mark.parametrize(
    ("arrived", "expected", "newcomers", "waited", "complete"),
    [
        ([FIRST, SECOND], [FIRST, SECOND], 0, 0.0, True),
        ([FIRST], [FIRST, SECOND], 0, 0.0, False),
        ([FIRST], [FIRST, SECOND], 0, MEETING_SECONDS + 1, True),
        ([FIRST], [FIRST, ended_member()], 0, 0.0, True),
        ([FIRST, SECOND], [FIRST, SECOND], 1, 0.0, False),
        ([FIRST, SECOND, NEW], [FIRST, SECOND], 1, 0.0, True),
        ([FIRST, NEW], [FIRST, SECOND], 1, 0.0, False),
    ],
)
def test_a_list_is_closed_when_all_living_members_are_there(
    arrived, expected, newcomers, waited, complete
):
    assert all_arrived(arrived, expected, newcomers, waited) is complete


def test_members_keep_their_order_and_newcomers_follow():
    returned = Member(0, "elsewhere", 999)
    found = membership.in_rank_order([NEW, returned, SECOND, THIRD], [THIRD, SECOND, FIRST])
    assert found == (THIRD, SECOND, returned, NEW)


def test_a_member_is_lost_when_its_heartbeat_stays_the_same():
    heartbeats = Heartbeats(2, 0.0)
    assert heartbeats.lost([b"1", b"1"], 1.0) == []
    assert heartbeats.lost([b"2", b"1"], 1.0 + HEARTBEAT_TIMEOUT) == []
    assert heartbeats.lost([b"3", b"1"], 1.1 + HEARTBEAT_TIMEOUT) == [1]


def test_a_process_that_was_stopped_itself_does_not_take_the_others_for_lost():
    heartbeats = Heartbeats(1, 0.0)
    assert heartbeats.lost([b"2"], 10 * HEARTBEAT_TIMEOUT) == []


def test_only_one_process_opens_a_generation(tmp_path):
    first = GenerationFolder(tmp_path, FIRST, "127.0.0.1")
    second = GenerationFolder(tmp_path, SECOND, "127.0.0.1")
    opened = first.open(4, first=False)
    assert second.open(4, first=False) is None
    assert {path.name for path in tmp_path.iterdir()} == {"4.json"}
    entered = second.enter(*second.newest())
    assert (entered.number, entered.opener) == (4, FIRST)
    entered.register(SECOND)
    assert opened.arrived() == [FIRST, SECOND]
    assert not entered.is_closed()
    opened.close([FIRST, SECOND])
    assert entered.with_members().members == (FIRST, SECOND)


def test_a_generation_whose_opener_ended_is_lost(tmp_path):
    folder = GenerationFolder(tmp_path, FIRST, "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(GenerationLostError):
        folder.enter(1, {"address": ["127.0.0.1", port], "opener": [0, "x", 1]})


def member(tmp_path, rank, size):
    return Membership(tmp_path / "ranks", tmp_path / "lock", rank, size, "127.0.0.1")


def test_ranks_start_together_and_one_that_comes_late_joins(tmp_path):
    with member(tmp_path, 0, 2) as first, member(tmp_path, 1, 2) as second:
        second.me = Member(1, second.me.host, os.getppid())  # another process that runs
        other = threading.Thread(target=second.start)
        other.start()
        assert first.start()
        other.join()
        assert first.generation.number == second.generation.number == 1
        assert [m.launch_rank for m in first.generation.members] == [0, 1]
        with member(tmp_path, 2, 2) as late:
            late.me = Member(2, late.me.host, 1)
            assert not late.start()
            applied = threading.Thread(target=late.join)
            applied.start()
            while not first.newcomers:
                first.ended.wait(0.01)
            following = first.advance(1)
            assert second.advance(1).members == following.members
            applied.join()
            assert [m.launch_rank for m in following.members] == [0, 1, 2]
    assert not (tmp_path / "ranks").exists()


def test_a_process_that_comes_after_the_end_does_not_start_again(tmp_path):
    with member(tmp_path, 0, 1) as alone:
        assert alone.start()
        alone.finish()
    late = Membership(tmp_path / "ranks", tmp_path / "lock", 1, 2, "127.0.0.1", restarted=True)
    with late, pytest.raises(RunFinishedError):
        late.start()
    with member(tmp_path, 0, 1) as again:  # the same command, given by a user
        assert again.start()
