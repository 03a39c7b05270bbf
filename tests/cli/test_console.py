import errno
import logging

from decametre.cli import console


def test_where_there_is_no_terminal_one_line_per_interval(monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO)
    with console.progress_of("sharpening") as progress:
        for done in range(0, 11):
            progress(done, 10, done * 100_000)
            now[0] += 10
    # 30 s a line, 10 s a call: at 30, 60 and 90 s.
    assert [record.message for record in caplog.records] == [
        "sharpening: 3 of 10 windows, 0.01 Mpixel/s, 70 s left",
        "sharpening: 6 of 10 windows, 0.01 Mpixel/s, 40 s left",
        "sharpening: 9 of 10 windows, 0.01 Mpixel/s, 10 s left",
    ]


def test_a_log_that_cannot_be_written_does_not_end_a_job(monkeypatch):
    class FullDisk:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(console.sys, "stderr", FullDisk())
    record = logging.LogRecord("x", logging.INFO, "x", 1, "text", (), None)
    console.StderrHandler().emit(record)


def test_messages_are_one_plain_line(capsys):
    logger = logging.getLogger("decametre.test_console")
    logger.addHandler(handler := console.StderrHandler())
    logger.propagate = False
    logger.warning("something %s", "odd")
    logger.removeHandler(handler)
    assert capsys.readouterr().err.endswith(" warning: something odd\n")
