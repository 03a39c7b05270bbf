"""Opening a SAFE product: a folder, a zip as downloaded, or the path of its metadata.

A zip is read in place. `_Folder` and `_Zip` give the same access to both.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from decametre.errors import CorruptDataError, MissingBandError, NotAProductError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.masks import find_masks
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.sentinel2.raster import common_grid, read_grid
from decametre.sentinel2.safe_metadata import (
    Granule,
    SafeMetadata,
    find_tile,
    parse_granule_metadata,
    parse_manifest,
    parse_product_metadata,
)
from decametre.sentinel2.zip_files import open_zip

log = logging.getLogger(__name__)

_MAIN = re.compile(
    r"MTD_MSIL(1C|2A)\.xml|S2[A-Z]_(OPER|USER)_MTD_SAFL(1C|2A)_.*\.xml", re.IGNORECASE
)
_GRANULE = re.compile(r"MTD_TL\.xml|S2[A-Z]_(OPER|USER)_MTD_L(1C|2A)_TL_.*\.xml", re.IGNORECASE)
_MAX_XML = 32 << 20  # bytes; ESA's have up to 2 MB
_MANIFEST = "manifest.safe"


@dataclass(frozen=True)
class _Files(ABC):
    """The files of one product. Paths are relative to its root, usually `NAME.SAFE`."""

    place: Path  # the folder or zip

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the root."""

    @abstractmethod
    def paths(self) -> frozenset[str]:
        """Paths of all files that belong to the product."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The content of a metadata file."""

    @abstractmethod
    def gdal_path(self, path: str) -> str:
        """GDAL's name of a file."""

    def listing(self, folder: str) -> list[str]:
        """Names of the files in a folder; empty if it does not exist."""
        prefix = f"{folder}/" if folder else ""
        names = (path.removeprefix(prefix) for path in self._paths if path.startswith(prefix))
        return sorted(name for name in names if "/" not in name)

    def find(self, path: str) -> str | None:
        """The actual path of a file; its case and the name of its folders may differ."""
        if path in self._paths:
            return path
        wanted = path.lower()
        for key in (str.lower, _lower_name):
            found = [each for each in self._paths if key(each) == key(wanted)]
            if len(found) == 1:
                return found[0]
        return None

    @cached_property
    def _paths(self) -> frozenset[str]:
        return self.paths()


class _Folder(_Files):
    """A product in a folder."""

    @property
    def name(self) -> str:
        return self.place.absolute().name

    def paths(self) -> frozenset[str]:
        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        granules = os.walk(self.place / "GRANULE", onerror=fail)
        inside = [Path(folder, name) for folder, _, names in granules for name in names]
        own = [path for path in self.place.iterdir() if path.is_file()]
        return frozenset(path.relative_to(self.place).as_posix() for path in (*own, *inside))

    def read(self, path: str) -> bytes:
        with (self.place / path).open("rb") as file:
            return _checked(file.read(_MAX_XML + 1), f"{self.place / path}")

    def gdal_path(self, path: str) -> str:
        return str(self.place / path)


@dataclass(frozen=True)
class _Zip(_Files):
    """A product in a zip. Members with unsafe names are excluded."""

    members: frozenset[str]
    root: str  # with the slash at its end

    @property
    def name(self) -> str:
        return self.root.rstrip("/").rpartition("/")[2] or self.place.stem

    def paths(self) -> frozenset[str]:
        return frozenset(
            each.removeprefix(self.root) for each in self.members if each.startswith(self.root)
        )

    def read(self, path: str) -> bytes:
        where = f"{path} in {self.place}"
        try:
            with open_zip(self.place) as archive, archive.open(self.root + path) as file:
                return _checked(file.read(_MAX_XML + 1), where)
        except (EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CorruptDataError(f"cannot read {where} ({error}); download it again") from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, odd compression
            raise NotAProductError(f"cannot read {where} ({error}); unpack it yourself") from error

    def gdal_path(self, path: str) -> str:
        return f"/vsizip/{{{self.place}}}/{self.root}{path}"


def _lower_name(path: str) -> str:
    return path.lower().rpartition("/")[2]


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
        MissingBandError: None of the band files exists.
        CorruptDataError: A zip or a band file is damaged.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: The offset or the quantification value is not usable.
    """
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
    found, missing = {}, {}
    for band in ALL_BANDS:
        path = granule.images.get(band)
        if path is None:
            missing[band] = f"{main} in {source} does not list it"
        elif actual := files.find(path):
            found[band] = actual
        else:
            missing[band] = f"searched for {path} in {source}"
    if granule.images and not found:
        raise MissingBandError(
            f"{source}: contains metadata but no band files; searched for "
            f"{next(iter(granule.images.values()))}; download the complete product"
        )
    paths = {band: files.gdal_path(path) for band, path in found.items()}
    checksums = _checksums(files)
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
            band: BandFile(
                ALL_BANDS[band],
                path,
                _radiometry(metadata, band, offset),
                checksums.get(granule.images[band]),
            )
            for band, path in paths.items()
        },
        missing=missing,
        offset_reason=_offset_reason(metadata, main, offset),
        user_offset_dn=offset,
        properties={**metadata.properties, **_granule_properties(found.values(), files, source)},
        masks={name: files.gdal_path(path) for name, path in _masks(found.values(), files).items()},
    )


def _locate(source: Path) -> tuple[_Files, str, str | None]:
    """The product's files, its main metadata, and the folder of the selected granule or None."""
    if source.is_dir():
        place, chosen = source, None
        own = [path.name for path in source.iterdir() if _MAIN.fullmatch(path.name)]
        if source.absolute().parent.name == "GRANULE" and not own:
            place, chosen = source.absolute().parents[1], f"GRANULE/{source.absolute().name}"
        return _Folder(place), _main(sorted(path.name for path in place.iterdir()), place), chosen
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
    if re.search("[{}]", re.sub(r"\{[^{}]*\}", "", str(path))):
        raise NotAProductError(f"{path}: GDAL cannot open a zip with a single brace; rename it")
    try:
        with open_zip(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise CorruptDataError(
            f"{path} is truncated or not a zip archive ({error}); download it again"
        ) from error
    members = frozenset(filter(_is_safe_name, names))
    try:
        main = _main(sorted(members), path)
    except NotAProductError as error:
        for name in names:
            parts = re.split(r"[/\\]", name)
            if _MAIN.fullmatch(parts[-1]) and ".." not in parts and name not in members:
                raise NotAProductError(
                    f"{path}: its members have unusual paths ({name!r}); unpack it and give the "
                    "SAFE folder"
                ) from error
            if name.lower().endswith(".zip"):
                raise NotAProductError(
                    f"{path}: contains another zip ({name}); unpack it and give that zip"
                ) from error
        raise
    root, slash, name = main.rpartition("/")
    return _Zip(path, members, root + slash), name


def _is_safe_name(member: str) -> bool:
    """Whether a zip member is a file whose name stays inside the archive."""
    return "\\" not in member and not {"", ".", ".."} & set(member.split("/"))


def _checked(content: bytes, where: str) -> bytes:
    if len(content) > _MAX_XML:
        raise NotAProductError(f"{where}: larger than {_MAX_XML >> 20} MB; no product metadata")
    return content


def _main(paths: list[str], source: Path) -> str:
    """The one product metadata file among these paths."""
    found = [path for path in paths if _MAIN.fullmatch(path.rpartition("/")[2])]
    roots = {path.rpartition("/")[0] for path in found}
    # A product may contain copies of its metadata in deeper folders.
    found = [
        path
        for path in found
        if not any(
            path.startswith(f"{root}/" if root else "") and root != path.rpartition("/")[0]
            for root in roots
        )
    ]
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
        there = [each for each in granules if any(map(files.find, each.images.values()))]
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


def _granule_properties(images: Iterable[str], files: _Files, source: str) -> dict[str, float]:
    """Sun and view angles from the metadata of the granule that contains the images."""
    for folder in {"/".join(path.split("/")[:2]) for path in images}:
        for name in filter(_GRANULE.fullmatch, files.listing(folder)):
            path = f"{folder}/{name}"
            try:
                return parse_granule_metadata(files.read(path), f"{path} in {source}")
            except (NotAProductError, CorruptDataError) as error:
                log.warning("sun and view angles are unknown: %s", error)
    return {}


def _masks(images: Iterable[str], files: _Files) -> dict[str, str]:
    """Paths of the scene classification and of masks in the granule that contains the images."""
    folders = {"/".join(path.split("/")[:2]) for path in images}
    return find_masks(
        f"{folder}/{part}/{name}"
        for folder in folders
        for part in ("IMG_DATA/R20m", "IMG_DATA", "QI_DATA")
        for name in files.listing(f"{folder}/{part}")
    )


def _checksums(files: _Files) -> Mapping[str, str]:
    """Checksums in the manifest by path; empty if there is no usable manifest."""
    path = files.find(_MANIFEST)
    if path is None:
        return {}
    try:
        return parse_manifest(files.read(path), path)
    except (NotAProductError, CorruptDataError) as error:
        log.warning("the band files are read without their checksums: %s", error)
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
