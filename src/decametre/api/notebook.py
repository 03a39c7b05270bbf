"""Progress in notebooks: a bar below the cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from decametre.progress import Progress, silent


@contextmanager
def notebook_bar(progress: Progress | None) -> Iterator[Progress]:
    """Choose the function to which a job reports its progress.

    Args:
        progress: What the user gave; None: a bar in a notebook, nothing elsewhere.

    Yields:
        The function to call with the progress.
    """
    if progress is not None or not _is_notebook():
        yield progress or silent
        return
    from IPython.display import display

    handle: Any = display(_Bar(0, 1), display_id=True)

    def update(completed: int, total: int, amount: int) -> None:
        handle.update(_Bar(completed, total))

    yield update


def _is_notebook() -> bool:
    """Whether the code runs in a Jupyter kernel."""
    if "IPython" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


class _Bar:
    """A progress bar, as HTML in notebooks and as text elsewhere."""

    def __init__(self, completed: int, total: int) -> None:
        self.completed, self.total = completed, total

    def __repr__(self) -> str:
        return f"sharpening: {self.completed} of {self.total} windows"

    def _repr_html_(self) -> str:
        return (
            f"<progress value='{self.completed}' max='{self.total}' style='width:20em'></progress> "
            f"{self}"
        )
