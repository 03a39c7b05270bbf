"""Opening a SAFE product: a folder, a zip as downloaded, or the path of its metadata.

A zip is read in place. `_Folder` and `_Zip` give the same access to both.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from decametre.errors import CorruptDataError, NotAProductError, RadiometryError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.sentinel2.raster import common_grid, read_grid
from decametre.sentinel2.safe_metadata import (
    Granule,
    SafeMetadata,
    find_tile,
    parse_granule_metadata,
    parse_product_metadata,
)

_MAIN = re.compile(r"MTD_MSIL(1C|2A)\.xml|S2[A-Z]_(OPER|USER)_MTD_SAFL(1C|2A)_.*\.xml")
_GRANULE = re.compile(r"MTD_TL\.xml|S2[A-Z]_(OPER|USER)_MTD_L(1C|2A)_TL_.*\.xml")
_MAX_XML = 32 << 20  # bytes; ESA's have up to 2 MB
_ROOT_DEPTH = 2  # a zip's metadata may lie in X.SAFE/, or in folder/X.SAFE/


class _Files(Protocol):
    """The files of one product. Paths are relative to its root, usually `NAME.SAFE`."""

    @property
    def name(self) -> str:
        """The name of the root."""

    def listing(self, folder: str) -> list[str]:
        """Names of the files in a folder; empty if it does not exist."""

    def has(self, path: str) -> bool:
        """Whether a file exists."""

    def read(self, path: str) -> bytes:
        """The content of a metadata file."""

    def gdal_path(self, path: str) -> str:
        """GDAL's name of a file."""


@dataclass(frozen=True)
class _Folder:
    """A product in a folder."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.absolute().name

    def listing(self, folder: str) -> list[str]:
        place = self.root / folder
        return sorted(each.name for each in place.iterdir()) if place.is_dir() else []

    def has(self, path: str) -> bool:
        return (self.root / path).is_file()

    def read(self, path: str) -> bytes:
        with (self.root / path).open("rb") as file:
            return _checked(file.read(_MAX_XML + 1), f"{self.root / path}")

    def gdal_path(self, path: str) -> str:
        return str(self.root / path)


@dataclass(frozen=True)
class _Zip:
    """A product in a zip. Members with unsafe names are excluded."""

    path: Path
    members: frozenset[str]
    root: str = ""  # with the slash at its end

    @property
    def name(self) -> str:
        return self.root.rstrip("/").rpartition("/")[2] or self.path.stem

    def listing(self, folder: str) -> list[str]:
        prefix = f"{self.root}{folder}/"
        inside = (each.removeprefix(prefix) for each in self.members if each.startswith(prefix))
        return sorted(each for each in inside if "/" not in each)

    def has(self, path: str) -> bool:
        return self.root + path in self.members

    def read(self, path: str) -> bytes:
        where = f"{path} in {self.path}"
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.root + path) as file:
                return _checked(file.read(_MAX_XML + 1), where)
        except (EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CorruptDataError(f"cannot read {where} ({error}); download it again") from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, odd compression
            raise NotAProductError(f"cannot read {where} ({error}); unpack it yourself") from error

    def gdal_path(self, path: str) -> str:
        return f"/vsizip/{{{self.path}}}/{self.root}{path}"


def open_safe(source: str, offset: float | None = None) -> Product:
    """Open a Sentinel-2 product in ESA's SAFE format, L1C or L2A, of any baseline since 02.00.

    Args:
        source: Path of a SAFE folder, of its zip, of its main metadata (`MTD_MSIL1C.xml`,
            `MTD_MSIL2A.xml` or a forerunner), or of the folder of one granule.
        offset: Radiometric offset in DN for all bands; None: from the metadata.

    Returns:
        The product; no pixels were read.

    Raises:
        NotAProductError: `source` is not a product, or its metadata are not usable.
        CorruptDataError: A zip or a band file is damaged.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: The offset or the quantification value is not usable.
    """
    if offset is not None and not math.isfinite(offset):
        raise RadiometryError(f"the offset is {offset}, expected a number of DN such as -1000")
    try:
        files, main, chosen = _locate(Path(source))
        return _product(source, files, main, chosen, offset)
    except OSError as error:
        raise NotAProductError(
            f"cannot read {error.filename or source}: {error.strerror or error}"
        ) from error


def _product(
    source: str, files: _Files, main: str, chosen: str | None, offset: float | None
) -> Product:
    metadata = parse_product_metadata(files.read(main), f"{main} in {source}")
    granule = _granule(metadata.granules, chosen, files, source)
    name = metadata.name or files.name.removesuffix(".SAFE")
    paths, missing = {}, {}
    for band in ALL_BANDS:
        path = granule.images.get(band)
        if path is None:
            missing[band] = f"{main} in {source} does not list it"
        elif not files.has(path):
            missing[band] = f"searched for {path} in {source}"
        else:
            paths[band] = files.gdal_path(path)
    return Product(
        id=granule.id if len(metadata.granules) > 1 else name,
        source=source,
        level=metadata.level,
        baseline=metadata.baseline,
        platform=metadata.platform,
        datetime=metadata.datetime,
        tile=granule.tile or find_tile(name),
        grid=common_grid(source, {band: read_grid(band, path) for band, path in paths.items()}),
        bands={
            band: BandFile(ALL_BANDS[band], path, _radiometry(metadata, band, offset))
            for band, path in paths.items()
        },
        missing=missing,
        offset_reason=_offset_reason(metadata, main, offset),
        user_offset_dn=offset,
        properties={**metadata.properties, **_granule_properties(granule, files, source)},
    )


def _locate(source: Path) -> tuple[_Files, str, str | None]:
    """The product's files, its main metadata, and the folder of the selected granule or None."""
    if source.is_dir():
        place, chosen = source, None
        if source.absolute().parent.name == "GRANULE":
            place, chosen = source.absolute().parents[1], f"GRANULE/{source.absolute().name}"
        folder = _Folder(place)
        return folder, _main(folder.listing(""), place), chosen
    if not source.exists():
        raise NotAProductError(f"{source}: no such file or folder")
    if source.suffix.lower() == ".xml":
        return _Folder(source.parent), source.name, None
    if source.suffix.lower() == ".zip" or zipfile.is_zipfile(source):
        return *_open_zip(source), None
    raise NotAProductError(
        f"{source}: not a Sentinel-2 product; give a SAFE folder, its zip, or its MTD_MSI*.xml"
    )


def _open_zip(path: Path) -> tuple[_Zip, str]:
    """The product in a zip, and the name of its main metadata."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = frozenset(filter(_is_harmless, archive.namelist()))
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise CorruptDataError(
            f"{path} is cut short or not a zip archive ({error}); download it again"
        ) from error
    main = _main(sorted(each for each in members if each.count("/") <= _ROOT_DEPTH), path)
    root, slash, name = main.rpartition("/")
    return _Zip(path, members, root + slash), name


def _is_harmless(member: str) -> bool:
    """Whether a zip member is a file whose name stays inside the archive."""
    return "\\" not in member and not {"", ".", ".."} & set(member.split("/"))


def _checked(content: bytes, where: str) -> bytes:
    if len(content) > _MAX_XML:
        raise NotAProductError(f"{where}: larger than {_MAX_XML >> 20} MB; no product metadata")
    return content


def _main(paths: list[str], source: Path) -> str:
    """The one product metadata file among these paths."""
    found = [path for path in paths if _MAIN.fullmatch(path.rpartition("/")[2])]
    if len(found) > 1:
        raise NotAProductError(
            f"{source}: has several products' metadata ({', '.join(found)}); give the path of one"
        )
    if not found:
        inside = [path for path in paths if path.endswith(".SAFE")]
        remedy = f"its {inside[0]}" if inside else "a SAFE folder, its zip or its MTD_MSI*.xml"
        raise NotAProductError(
            f"{source}: not a Sentinel-2 product: no MTD_MSIL1C.xml or MTD_MSIL2A.xml in it; "
            f"give {remedy}"
        )
    return found[0]


def _granule(
    granules: Sequence[Granule], chosen: str | None, files: _Files, source: str
) -> Granule:
    """The selected granule, by default the only one that has band files."""
    if chosen:
        there = [granule for granule in granules if granule.folder == chosen]
    else:
        there = [each for each in granules if any(map(files.has, each.images.values()))]
        there = there or list(granules)
    if len(there) == 1:
        return there[0]
    names = ", ".join(Path(granule.folder).name for granule in there or granules)
    if there:
        raise NotAProductError(
            f"{source}: has {len(there)} granules ({names}); give the granule's folder, "
            "GRANULE/<name>, as the product (unpack a zip for that)"
        )
    raise NotAProductError(f"{source}: not a granule of its product, which has {names or 'none'}")


def _granule_properties(granule: Granule, files: _Files, source: str) -> dict[str, float]:
    """Sun and view angles, if the granule has metadata."""
    for name in filter(_GRANULE.fullmatch, files.listing(granule.folder)):
        path = f"{granule.folder}/{name}"
        return parse_granule_metadata(files.read(path), f"{path} in {source}")
    return {}


def _radiometry(metadata: SafeMetadata, band: str, offset: float | None) -> Radiometry:
    offset_dn = metadata.offsets.get(band, 0.0) if offset is None else offset
    return Radiometry(
        scale=1 / metadata.quantification,
        offset=offset_dn / metadata.quantification,
        nodata=metadata.nodata,
        saturated=metadata.saturated,
    )


def _offset_reason(metadata: SafeMetadata, main: str, offset: float | None) -> str:
    if offset is not None:
        return f"given by the user: {offset:g} DN"
    if not metadata.offsets:
        return f"no offset in {main} (baseline {metadata.baseline or 'unknown'})"
    offsets = {band: metadata.offsets.get(band, 0.0) for band in ALL_BANDS}
    if len(set(offsets.values())) == 1:
        return f"{metadata.offset_tag} {offsets['B01']:g} in {main}"
    by_band = ", ".join(f"{band} {value:g}" for band, value in offsets.items())
    return f"{metadata.offset_tag} by band in {main}: {by_band}"
