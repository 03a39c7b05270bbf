"""The command `view`: address, browser, Ctrl-C, and one line for mistakes."""

import webbrowser

import pytest
from click.testing import CliRunner

from decametre.cli.main import cli
from decametre.cli.main import run as run_command
from decametre.errors import UnknownNameError
from decametre.viewer.options import ViewOptions
from decametre.viewer.viewer import Viewer


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C as soon as the command waits; the viewers that were closed."""
    closed = []
    close = Viewer.close

    def wait(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Viewer, "wait", wait)
    monkeypatch.setattr(Viewer, "close", lambda self: (closed.append(self.url), close(self)))
    return closed


def test_the_address_is_printed_and_ctrl_c_ends_with_status_0(
    interrupted, sample_item, monkeypatch
):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    done = CliRunner().invoke(cli, ["view", sample_item, "--no-browser"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == interrupted
    assert opened == []
    done = CliRunner().invoke(cli, ["view", sample_item])
    assert opened == [done.stdout.strip()]


def test_a_mistake_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["decametre", "view", str(tmp_path / "nothing.tif")])
    assert run_command(cli) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert "no such file" in written.err


def test_the_order_of_bands_is_kept():
    assert ViewOptions(bands=("b12", "8a", "B04")).bands == ("B12", "B8A", "B04")
    with pytest.raises(UnknownNameError):
        ViewOptions(bands=("B99",))
    done = CliRunner().invoke(cli, ["view", "x.tif", "--bands", "B04,B03"])
    assert done.exit_code == 2
    assert "give one or three bands" in done.output
