"""What can go wrong that is not our fault.

Every class here is a user's mistake or the state of their machine. The command line turns it
into one line on standard error and exit status 2; in Python it is an exception like any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class DecametreError(Exception):
    """Base of all errors that a user can mend. The message is one line: what, where, remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class NotAProductError(DecametreError):
    """The input is no Sentinel-2 product, or its metadata cannot be understood."""


class DocumentError(NotAProductError):
    """A JSON document, such as a STAC item, cannot be read or is not a JSON object."""


class MissingBandError(DecametreError):
    """A band file that the job needs is not where the metadata says."""


class CorruptDataError(DecametreError):
    """A file is truncated or damaged."""


class GridError(DecametreError):
    """Bands whose grids do not fit one another, or a window outside the product."""


class RadiometryError(DecametreError):
    """Scale or offset of the product cannot be used."""


class OutputError(DecametreError):
    """The result cannot be written: folder, permission, space, or it exists already."""


class BusyError(OutputError):
    """Another process is at work on the same output."""


class ModelError(DecametreError):
    """A model's card or weights cannot be used."""


class RecipeError(DecametreError):
    """A training recipe cannot be read, or a value in it makes no sense."""


class TrainingError(DecametreError):
    """A training run cannot start or go on."""


class EvaluationError(DecametreError):
    """Nothing that was given to an evaluation can be scored."""


class PatchError(DecametreError):
    """A patch, an archive or a store of patches cannot be used."""


class NoPatchError(PatchError):
    """Nothing of what was wanted can be cut: it lies elsewhere, was left out, or has no data.

    Args:
        message: See `DecametreError`.
        left_out: How many patches were left out, by reason.
    """

    def __init__(self, message: str, left_out: Mapping[str, int]) -> None:
        super().__init__(message)
        self.left_out = dict(left_out)


class FleetError(DecametreError):
    """A list of products, a cluster, or the folder of a fleet cannot be used."""


class DeviceError(DecametreError):
    """The device that was asked for is not there."""


class MissingExtraError(DecametreError):
    """Optional packages are not installed.

    Args:
        name: The verb or function that needs them.
        missing: Modules that cannot be imported.
        extra: The extra of this package that installs them.
    """

    def __init__(self, name: str, missing: Iterable[str], extra: str) -> None:
        super().__init__(
            f"decametre {name} needs {', '.join(missing)}: pip install 'decametre[{extra}]'"
        )


class UnknownNameError(DecametreError):
    """A name that is none of the known ones; the message proposes the nearest.

    Args:
        kind: What the name stands for, such as "band" or "model".
        given: The name as the user wrote it.
        known: All names that would have been right.
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
    """An option has a value that it cannot have.

    Args:
        name: The option as Python spells it; empty where several do not fit one another.
        problem: What is wrong with the value, and the remedy.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"argument {name}: {problem}" if name else problem)
        self.name, self.problem = name, problem
