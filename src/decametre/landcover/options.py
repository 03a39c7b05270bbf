"""Options that several verbs about land cover have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from decametre.options import LocatedPaths, Options, Overwrite, Text

Stride = Annotated[
    int,
    Field(
        ge=60,
        le=1200,
        multiple_of=60,
        description="Distance from one patch to the next in metres, a multiple of 60. Patches of "
        "1200 m overlap if it is less than 1200.",
    ),
    Text(metavar="METRES"),
]

Classes = Annotated[
    Literal[19, 43] | None,
    Field(
        description="Number of classes of the nomenclature in the store; by default that of the "
        "labels. Labels of 43 classes can be converted to 19."
    ),
]

Exclude = Annotated[
    LocatedPaths,
    Text(metavar="LIST"),
    Field(
        description="Skip the patches of a list, such as the lists of snowy and cloudy patches "
        "published with BigEarthNet."
    ),
]


class ImportModelOptions(Options):
    """Options of `decametre models import`."""

    release: Annotated[str | None, Text(metavar="X.Y.Z", default="from the folder's name")] = None
    """Release of the published network, such as 0.2.0, on which the order of its bands depends. By
    default it is read from the name of the folder or its README.md."""
    overwrite: Overwrite = False
