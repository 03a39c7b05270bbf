"""Whether the pixels agree with the radiometric offset that the metadata state.

An offset that is wrong by 0.1 moves all bands by 0.1 in reflectance. Two things show it:

* The darkest pixels. Water and shade are near 0 in the near and short-wave infrared, dense
  vegetation in red. If the darkest pixels are far below 0, the reflectance is too low.
* Surfaces that differences of bands identify whatever the offset: vegetation (B8A - B04), and water
  (B8A, B11 and B12 equal, B03 brighter). If they are there, but no band is dark anywhere, the
  reflectance is too high.

On Level-1C, the sky over the darkest ground is a third clue: B01 is never dark. A scene without
anything dark, such as a desert, shows nothing. docs/reports/offset.md has the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from decametre.errors import CorruptDataError
from decametre.sentinel2.bands import ALL_BANDS, COARSEST_FACTOR, FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader, read_overview

BANDS = ("B01", "B03", "B04", "B8A", "B09", "B11", "B12")
"""The bands that are looked at, if the product has them."""

NEEDED = frozenset({"B03", "B04", "B8A", "B11", "B12"})

EDGE = 1440
"""Largest edge of the images that are looked at, in pixels."""

DARK_PERCENT = 0.5
"""The percentile that counts as the darkest pixels of a band."""

TOO_DARK = -0.04
"""Darkest reflectance below which it is too low; Level-2A has values down to -0.03 over water."""

TOO_DARK_SKY = 0.05
"""Darkest B01 of Level-1C below which the reflectance is too low."""

DARK = (-0.01, 0.07)
"""Darkest reflectance that agrees with the offset."""

BRIGHT = 0.095
"""Darkest reflectance above which nothing in a scene is dark."""

BRIGHT_VEGETATION = {"L1C": 0.18}
BRIGHT_VEGETATION_ELSEWHERE = 0.15
"""B04 + 0.2 (B8A - B04) of the darkest vegetation, by level, above which it is too bright: the more
an area reflects in B8A, the less it reflects in B04. Sky adds some 0.03 on Level-1C."""

FLAT = 0.015
"""Largest difference between B8A, B11 and B12 over water."""

BRIGHT_WATER = (0.085, 0.15)
"""B12 over water if the reflectance is too high by 0.1."""

Verdict = Literal["agrees", "cannot tell", "contradicts"]


@dataclass(frozen=True)
class OffsetCheck:
    """What the pixels show about the offset.

    Attributes:
        verdict: Whether they agree with it.
        evidence: What was found, as text; with the remedy if they contradict it.
    """

    verdict: Verdict
    evidence: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.evidence}"


def check_offset(product: Product) -> OffsetCheck:
    """Compare the offset of a product with its pixels.

    Overviews of seven bands are read; if files have none, the middle of the product. A band that
    cannot be decoded is no error here.

    Args:
        product: The product.
    """
    missing = NEEDED - product.bands.keys()
    if missing:
        return OffsetCheck("cannot tell", f"needs {', '.join(sorted(missing))}")
    names = [name for name in BANDS if name in product.bands]
    images = {}
    try:
        read = _overviews(product, names) or _middle(product, names)
    except CorruptDataError as error:
        return OffsetCheck("cannot tell", str(error))
    for name, pixels in read.items():
        radiometry = product.bands[name].radiometry
        images[name] = np.where(
            radiometry.valid(pixels), radiometry.to_reflectance(pixels), np.float32(np.nan)
        )
    for name in images:
        if ALL_BANDS[name].gsd == FINEST_GSD and images[name].shape != images["B11"].shape:
            images[name] = _halved(images[name])
    return judge(images, product.level)


def _overviews(product: Product, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The bands reduced to at most `EDGE` pixels; None if files have no overviews for that.

    The bands of 10 m and 20 m have one grid.
    """
    factor = 1
    while max(product.grid.width, product.grid.height) > EDGE * factor:
        factor *= 2
    if factor == 1:
        return None
    images = {}
    for name in names:
        file = product.bands[name]
        image = read_overview(file, max(1, factor * FINEST_GSD // file.band.gsd))
        if image is None:
            return None
        images[name] = image
    return images


def _middle(product: Product, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The bands in the middle of the product, at most `EDGE` pixels of 10 m, on native grids."""
    grid, step = product.grid, COARSEST_FACTOR
    width, height = (min(EDGE, edge) // step * step for edge in (grid.width, grid.height))
    col, row = ((grid.width - width) // 2, (grid.height - height) // 2)
    window = Window(col // step * step, row // step * step, width, height)
    with BandReader(product, names) as reader:
        return reader.read_all(names, window)


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; NaN if one is NaN."""
    rows, columns = image.shape
    halved: np.ndarray = image.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return halved


def judge(images: Mapping[str, np.ndarray], level: str) -> OffsetCheck:
    """What reflectance shows about its offset.

    Args:
        images: Reflectance by band, NaN without data. The bands of 10 m and 20 m are on one grid.
        level: Level of the product, such as `L1C`.
    """
    darkest = {name: _percentile(image, DARK_PERCENT) for name, image in images.items()}
    sky = darkest.pop("B01", np.nan) if level == "L1C" else np.nan
    darkest = {name: value for name, value in darkest.items() if np.isfinite(value)}
    if not darkest:
        return OffsetCheck("cannot tell", "no pixel has data")
    band, floor = min(darkest.items(), key=lambda item: item[1])
    found = f"the darkest {DARK_PERCENT:g} % of {band} are below {floor:.3f}"
    if floor < TOO_DARK:
        return _contradiction(found, "low")
    if sky < TOO_DARK_SKY:
        return _contradiction(f"B01 of Level-1C falls to {sky:.3f}, less than the sky alone", "low")
    if floor > BRIGHT:
        evidence = _bright_surface(images, level)
        if evidence:
            return _contradiction(f"no band is darker than {floor:.3f}, but {evidence}", "high")
    if DARK[0] <= floor <= DARK[1]:
        return OffsetCheck("agrees", found)
    return OffsetCheck("cannot tell", f"{found}, and nothing in the scene is surely dark")


def _contradiction(evidence: str, direction: str) -> OffsetCheck:
    remedy = (
        "0.1 too low: try --offset none"
        if direction == "low"
        else ("0.1 too high: try --offset -1000")
    )
    return OffsetCheck("contradicts", f"{evidence}; reflectance is probably {remedy}")


def _bright_surface(images: Mapping[str, np.ndarray], level: str) -> str:
    """Vegetation or water that is too bright, as text; empty if there is none."""
    contrast = images["B8A"] - images["B04"]
    vegetation = contrast > 0.15
    pixels = int(np.isfinite(contrast).sum())
    if vegetation.sum() >= max(20, 0.002 * pixels):
        value = _percentile((images["B04"] + 0.2 * contrast)[vegetation], 5)
        if value > BRIGHT_VEGETATION.get(level, BRIGHT_VEGETATION_ELSEWHERE):
            return (
                f"there is vegetation, whose B04 is {_percentile(images['B04'][vegetation], 5):.3f}"
            )
    water = (
        (np.abs(images["B8A"] - images["B11"]) < FLAT)
        & (np.abs(images["B11"] - images["B12"]) < FLAT)
        & (images["B03"] > images["B8A"])
    )
    if water.sum() >= max(20, 0.001 * pixels):
        value = _percentile(images["B12"][water], 5)
        if BRIGHT_WATER[0] < value < BRIGHT_WATER[1]:
            return f"there is water, whose B12 is {value:.3f}"
    return ""


def _percentile(image: np.ndarray, percent: float) -> float:
    """A percentile of the pixels with data; NaN if there are none."""
    values = image[np.isfinite(image)]
    return float(np.percentile(values, percent)) if values.size else float("nan")
