"""Errors that a user can correct.

They are mistakes of the user or problems of the machine. The command line prints one line on
standard error and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class DecametreError(Exception):
    """Base class. The message is one line: what, where, value, remedy.

    Args:
        message: The message.
        transient: Whether the same input may work later, as after a failed connection.
        retry_after: Seconds after which a busy server accepts requests, if it states them.
    """

    def __init__(
        self, message: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(" ".join(str(message).split()))
        self.transient, self.retry_after = transient, retry_after


class NotAProductError(DecametreError):
    """The input is not a Sentinel-2 product, or its metadata are not usable."""


class DocumentError(NotAProductError):
    """A JSON document, such as a STAC item, cannot be read or is not a JSON object."""


class MissingBandError(DecametreError):
    """A band file that the job needs does not exist."""


class CorruptDataError(DecametreError):
    """A file is truncated or damaged."""


class GridError(DecametreError):
    """Inconsistent grids of bands, or a window outside the product."""


class RadiometryError(DecametreError):
    """Scale or offset of the product cannot be used."""


class OutputError(DecametreError):
    """The result cannot be written: folder, permission, disk space, or it exists already."""


class InvalidPathError(DecametreError):
    """A path that cannot be used."""


class BusyError(OutputError):
    """Another process is writing the same output."""


class ModelError(DecametreError):
    """A model's card or weights cannot be used."""


class SharpeningError(DecametreError):
    """At least one of several products could not be sharpened."""


class RecipeError(DecametreError):
    """A training recipe cannot be read, or has an invalid value."""


class TrainingError(DecametreError):
    """A training run cannot start or continue."""


class EvaluationError(DecametreError):
    """None of the inputs of an evaluation can be scored."""


class PatchError(DecametreError):
    """A patch, an archive or a store of patches cannot be used."""


class NoPatchError(PatchError):
    """No patch can be cut: all are outside the product, excluded, or without data.

    Args:
        message: See `DecametreError`.
        left_out: Number of excluded patches by reason.
    """

    def __init__(self, message: str, left_out: Mapping[str, int]) -> None:
        super().__init__(message)
        self.left_out = dict(left_out)


class FleetError(DecametreError):
    """A list of products, a cluster, or the folder of a fleet cannot be used."""


class ViewError(DecametreError):
    """An image cannot be shown on the map, or its server cannot start."""


class DeviceError(DecametreError):
    """The requested device is not available."""


class MissingExtraError(DecametreError):
    """Optional packages are not installed.

    Args:
        user: The command or function that needs them.
        missing: Modules that cannot be imported.
        extra: The extra of this package that installs them.
    """

    def __init__(self, user: str, missing: Iterable[str], extra: str) -> None:
        super().__init__(f"{user} needs {', '.join(missing)}: pip install 'decametre[{extra}]'")


class UnknownNameError(DecametreError):
    """An unknown name; the message proposes similar ones.

    Args:
        kind: Kind of thing, such as "band" or "model".
        given: The name that the user gave.
        known: All valid names.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        by_lower = {name.lower(): name for name in known}
        close = difflib.get_close_matches(given.lower(), by_lower, n=3, cutoff=0.4)
        near = [by_lower[name] for name in close]
        remedy = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"known: {', '.join(by_lower.values())}"
        )
        super().__init__(f"unknown {kind} '{given}'; {remedy}")


class OptionError(DecametreError):
    """An option has an invalid value.

    Args:
        name: The option as in Python; empty for a combination of options.
        problem: The problem and its remedy.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"argument {name}: {problem}" if name else problem)
        self.name, self.problem = name, problem
