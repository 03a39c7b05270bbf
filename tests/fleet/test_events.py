import json

import pytest

from decametre.errors import FleetError
from decametre.files import locked
from decametre.fleet.events import (
    driver_is_running,
    events_path,
    lock_path,
    open_journal,
    read_events,
    run_events,
)

RUN = {"products": 1, "done_before": 0, "settings": {}, "dashboard": None} | dict.fromkeys(
    ("command", "version", "cluster"), "x"
)


def test_events_are_appended_and_read_in_order(tmp_path):
    with open_journal(tmp_path) as journal:
        written = [journal.write("run", verb="sharpen", **RUN), journal.write("beat", running=2)]
    with open_journal(tmp_path) as journal:
        written.append(journal.write("run", verb="extract", **RUN))
    assert list(read_events(tmp_path)) == written
    assert list(run_events(tmp_path)) == [written[0], written[2]]


def test_incomplete_last_line_is_skipped_and_then_removed(tmp_path):
    with open_journal(tmp_path) as journal:
        first = journal.write("beat", running=1)
    with events_path(tmp_path).open("a") as file:
        file.write('{"event": "done", "ti')
    assert list(read_events(tmp_path)) == [first]
    with open_journal(tmp_path) as journal:
        second = journal.write("beat", running=2)
    assert list(read_events(tmp_path)) == [first, second]


def test_damaged_line_is_an_error(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.write("beat", running=1)
    with events_path(tmp_path).open("a") as file:
        file.write("\0\0\0\n")
    with pytest.raises(FleetError, match=r"events\.jsonl, line 2: not an event"):
        list(read_events(tmp_path))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ([], "Input should be a valid dictionary"),
        ({"event": "run", "time": 1.0}, "verb: Field required"),
        ({"event": "beat", "time": "now", "running": 1}, "time: Input should be a valid number"),
        ({"event": "beat", "time": 1e300, "running": 1}, "time: Input should be less than"),
        ({"event": "unknown"}, "time: Field required"),
    ],
)
def test_event_without_its_fields_is_an_error(tmp_path, event, reason):
    with open_journal(tmp_path):
        events_path(tmp_path).write_text(json.dumps(event) + "\n")
    with pytest.raises(FleetError, match=rf"line 1: not an event of a fleet \(.*{reason}"):
        list(read_events(tmp_path))


def test_folder_without_a_journal_has_no_events(tmp_path):
    assert list(read_events(tmp_path)) == []
    assert not driver_is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_driver_is_running_while_it_holds_the_lock(tmp_path):
    lock_path(tmp_path).parent.mkdir()
    with locked(lock_path(tmp_path), tmp_path):
        assert driver_is_running(tmp_path)
    assert not driver_is_running(tmp_path)
