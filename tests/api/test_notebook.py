import sys
import types

import pytest

from decametre.api.notebook import notebook_bar
from decametre.progress import silent


@pytest.fixture
def notebook(monkeypatch):
    """A stand-in for IPython in a Jupyter kernel; the list of what is shown."""
    shown = []
    handle = types.SimpleNamespace(update=shown.append)

    def display(bar, display_id):
        shown.append(bar)
        return handle

    package = types.ModuleType("IPython")
    package.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    package.display = types.ModuleType("IPython.display")
    package.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    return shown


def test_a_notebook_shows_a_bar(notebook):
    with notebook_bar(None) as progress:
        progress(3, 7, 100)
    assert [str(bar) for bar in notebook] == [
        "sharpening: 0 of 1 windows",
        "sharpening: 3 of 7 windows",
    ]
    assert "<progress value='3' max='7'" in notebook[1]._repr_html_()


def test_the_progress_of_the_user_replaces_the_bar(notebook):
    with notebook_bar(silent) as progress:
        assert progress is silent
    assert notebook == []


def test_there_is_no_bar_outside_notebooks(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with notebook_bar(None) as progress:
        assert progress is silent
