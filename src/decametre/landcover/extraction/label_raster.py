"""Take the labels of patches from a raster of classes, such as CORINE Land Cover."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from decametre.errors import CorruptDataError, NoPatchError, PatchError
from decametre.files import parse_json
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.patches.nomenclature import (
    CORINE43,
    Nomenclature,
    match_labels,
    nomenclature_of,
)
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS
from decametre.sentinel2.product import Product
from decametre.text import counted

log = logging.getLogger(__name__)

# CORINE's codes of level 3, without 335 (glaciers), which BigEarthNet does not have.
# fmt: off
_CODES = (
    111, 112, 121, 122, 123, 124, 131, 132, 133, 141, 142, 211, 212, 213, 221, 222, 223, 231, 241,
    242, 243, 244, 311, 312, 313, 321, 322, 323, 324, 331, 332, 333, 334, 411, 412, 421, 422, 423,
    511, 512, 521, 522, 523,
)
# fmt: on
CORINE_CODES: Mapping[int, str] = dict(zip(_CODES, CORINE43.classes, strict=True))
"""Class name by CORINE's code of level 3, as in BigEarthNet's reference maps."""

NAMES_TAG = "DECAMETRE_CLASSES"
"""Metadata key under which a raster holds its class names: JSON of names by code."""


@dataclass(frozen=True)
class LabelRaster:
    """A raster of integers that are codes of classes, in any CRS and resolution.

    Every 10 m pixel takes the nearest code.

    Attributes:
        path: The raster.
        names: Class name by code; other codes are no class.
        share: A patch has the classes that cover at least this share of its pixels, and at least
            one pixel. Pixels outside the raster or without data in it are not counted.
    """

    path: Path
    names: Mapping[int, str]
    share: float = 0.0

    @property
    def nomenclature(self) -> Nomenclature:
        """The nomenclature of the labels; in the order of `names` if it is not published."""
        known = nomenclature_of(self.names.values())
        if known.name == "other":
            return Nomenclature("other", tuple(dict.fromkeys(self.names.values())))
        return known

    def labels(self, product: Product, patches: Sequence[LocatedPatch]) -> list[tuple[str, ...]]:
        """Determine the labels of patches of a product.

        A warning states how many patches the raster does not cover, if there are any.

        Raises:
            NoPatchError: It covers none of the patches.
            CorruptDataError: The raster cannot be read.
            PatchError: The raster does not hold integers.
        """
        try:
            with rasterio.Env(**GDAL_OPTIONS), rasterio.open(self.path) as raster:
                if raster.crs is None or np.dtype(raster.dtypes[0]).kind not in "iu":
                    raise PatchError(
                        f"{self.path}: holds {raster.dtypes[0]} in {raster.crs}; expected integers "
                        "with a coordinate reference system"
                    )
                outside = self._code_outside(raster)
                with WarpedVRT(
                    raster,
                    crs=product.grid.crs,
                    transform=rasterio.Affine(*product.grid.transform()),
                    width=product.grid.width,
                    height=product.grid.height,
                    resampling=Resampling.nearest,
                    nodata=outside,
                ) as warped:
                    found = [self._labels(warped, patch, outside) for patch in patches]
        except RasterioError as error:
            raise CorruptDataError(f"{self.path}: cannot be read ({error})") from error
        without = found.count(None)
        if without and without == len(found):
            raise NoPatchError(
                f"{self.path}: has no data on any of {counted(without, 'patch')} of "
                f"{product.id}; give a raster of the same ground",
                {"without labels": without},
            )
        if without:
            log.warning(
                "%s: has no data on %s of %s, which have no class",
                self.path,
                counted(without, "patch"),
                product.id,
            )
        return [labels or () for labels in found]

    def _code_outside(self, raster: rasterio.DatasetReader) -> int:
        """The raster's nodata, or else the largest code without a class."""
        if raster.nodata is not None and int(raster.nodata) not in self.names:
            return int(raster.nodata)
        largest = int(np.iinfo(raster.dtypes[0]).max)
        return next(code for code in range(largest, -1, -1) if code not in self.names)

    def _labels(
        self, warped: WarpedVRT, patch: LocatedPatch, outside: int
    ) -> tuple[str, ...] | None:
        """The classes of a patch; None if no pixel of it has data."""
        pixels = patch.window
        window = rasterio.windows.Window(pixels.col, pixels.row, pixels.width, pixels.height)
        codes, counts = np.unique(warped.read(1, window=window), return_counts=True)
        if (codes == outside).all():
            return None
        least = self.share * counts[codes != outside].sum()
        found = {
            self.names[code]
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
            if code in self.names and count >= least
        }
        return tuple(name for name in dict.fromkeys(self.names.values()) if name in found)


def read_label_raster(path: Path, names: Path | None = None, share: float = 0.0) -> LabelRaster:
    """Open a raster of classes.

    Args:
        path: The raster.
        names: JSON of class names by code (`{"1": "Water"}`), or CSV with a code and a name per
            line. By default the names that the raster itself holds (`patches label`), or else those
            of CORINE's codes of level 3.
        share: See `LabelRaster`.

    Raises:
        PatchError: A file is missing, or the names cannot be read.
        CorruptDataError: The raster cannot be read.
    """
    if not path.is_file():
        raise PatchError(f"{path}: no such file")
    if not 0 <= share <= 1:
        raise PatchError(f"a share of {share:g} of a patch; give one from 0 to 1")
    if names is None:
        return LabelRaster(path, _embedded_names(path) or CORINE_CODES, share)
    try:
        text = names.read_text(encoding="utf-8")
        if names.suffix.lower() == ".json":
            pairs = [(int(code), str(name)) for code, name in parse_json(text).items()]
        else:
            rows = [row for row in csv.reader(text.splitlines()) if row]
            pairs = [(int(row[0]), row[1].strip()) for row in rows if row[0].strip().isdecimal()]
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise PatchError(
            f"{names}: no names of classes ({error}); give JSON such as "
            '{"1": "Water"}, or CSV with a code and a name per line'
        ) from error
    if not pairs:
        raise PatchError(f"{names}: has no line with a code and a name")
    classes = match_labels((name for _, name in pairs), str(names))
    return LabelRaster(path, {code: classes[name] for code, name in pairs}, share)


def _embedded_names(path: Path) -> dict[int, str]:
    """Class names by code that a raster itself holds; empty if it holds none.

    Raises:
        CorruptDataError: The raster cannot be read.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as raster:
            text = raster.tags().get(NAMES_TAG, "{}")
    except RasterioError as error:
        raise CorruptDataError(f"{path}: cannot be read ({error})") from error
    return {int(code): str(name) for code, name in json.loads(text).items()}
