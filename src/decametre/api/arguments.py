"""Arguments that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]

Progress = Callable[[int, int, int], None]
"""Called with what is done, with all, and with the amount done, in the verb's units."""


def located(path: PathLike) -> str:
    """A path that holds whatever the working directory; a URL as it is."""
    text = os.fspath(path)
    return text if "://" in text else str(Path(text).absolute())


def unique(names: Iterable[str]) -> list[str]:
    """The names, those that come again with a number: parts of one product share its name."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found
