"""The style of a tile, as an address states it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decametre.errors import UnknownNameError, ViewError
from decametre.viewer import styles
from decametre.viewer.layer import CLASSES, LandCoverClass

KINDS = ("composite", "band", "index", CLASSES)


@dataclass(frozen=True)
class StyleRequest:
    """Which bands of a layer are shown, and in which colours.

    Attributes:
        kind: One of `KINDS`.
        names: The bands: three for a composite, two for an index, otherwise one.
        limits: Values shown as the darkest and the brightest colour: for each band of a
            composite, otherwise one pair.
        scale: Name of the colour scale of a band or an index.
        gamma: Exponent of brightness of a composite; above 1 is brighter.
        index: The index, for `index`.
    """

    kind: str
    names: tuple[str, ...]
    limits: tuple[tuple[float, float], ...] = ()
    scale: str = "gray"
    gamma: float = 1.0
    index: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> StyleRequest:
        """From the parameters of an address.

        Raises:
            ViewError: A parameter is missing or makes no sense.
            UnknownNameError: There is no such kind, index or colour scale.
        """
        kind = query.get("style", "composite")
        if kind not in KINDS:
            raise UnknownNameError("style", kind, KINDS)
        if kind == CLASSES:
            return cls(kind, (CLASSES,))
        index = query.get("index", "")
        if kind == "index" and index not in styles.INDICES:
            raise UnknownNameError("index", index, styles.INDICES)
        formula = styles.INDICES.get(index)
        names = (formula.a, formula.b) if formula else tuple(query.get("bands", "").split(","))
        low, high = _numbers(query, "low"), _numbers(query, "high")
        pairs = 3 if kind == "composite" else 1
        if len(low) != pairs or len(high) != pairs or (kind != "index" and len(names) != pairs):
            raise ViewError(f"style {kind}: give {pairs} values each of bands, low and high")
        scale = query.get("scale", "gray")
        styles.colour_scale(scale)
        (gamma,) = _numbers({"gamma": "1", **query}, "gamma")[:1]
        if not 0.1 <= gamma <= 10:
            raise ViewError(f"gamma {gamma:g}: give a number from 0.1 to 10")
        return cls(kind, names, tuple(zip(low, high, strict=True)), scale, gamma, index)

    def image(self, bands: Sequence[np.ndarray], legend: Sequence[LandCoverClass]) -> np.ndarray:
        """The image of the bands: uint8 (rows, columns, 4).

        Args:
            bands: The bands of `names`, float32 (rows, columns), NaN without data.
            legend: The classes of the layer.
        """
        if self.kind == CLASSES:
            return styles.classified(bands[0], legend)
        if self.kind == "composite":
            return styles.composite(bands, self.limits, self.gamma)
        values = styles.INDICES[self.index].values(*bands) if self.kind == "index" else bands[0]
        return styles.coloured(values, self.limits[0], self.scale)


def _numbers(query: Mapping[str, str], name: str) -> list[float]:
    text = query.get(name, "")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ViewError(f"{name} '{text}': give numbers between commas")
    return numbers
