"""The XML metadata of a SAFE product, as plain values.

ESA has changed namespaces and element names several times: L1C and L2A, baselines 02.xx to 05.xx,
products before and after December 2016. Elements are therefore searched by local names
at any depth. The XML is not trusted: document type definitions and entities are refused, and so are
paths that lead out of the product.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from decametre.errors import NotAProductError, RadiometryError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.radiometry import NODATA, SATURATED

MAX_DEPTH, MAX_ELEMENTS = 50, 500_000
"""Most levels and elements of a document. ESA's have 9 levels and up to 20,000 elements."""

_LEVELS = {"Level-1C_User_Product": "L1C", "Level-2A_User_Product": "L2A"}
_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
_IMAGE_FILES = ("IMAGE_FILE", "IMAGE_FILE_2A")  # a path from the product's root
_IMAGE_IDS = ("IMAGE_ID", "IMAGE_ID_2A")  # a name alone, before December 2016
_IMAGE_NAME = re.compile(r"_(?P<band>B\d[\dA])(?:_(?P<gsd>10|20|60)m)?$")
_INNER_PATH = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
_ALGORITHMS = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA3": "sha3_256"}
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})(?=_|$)")


@dataclass(frozen=True)
class Granule:
    """One tile of a product.

    Attributes:
        id: Its identifier in the metadata.
        folder: Its folder, from the product's root.
        images: Path of each band's image at its native resolution, from the product's root.
    """

    id: str
    folder: str
    images: Mapping[str, str]

    @property
    def tile(self) -> str | None:
        """The MGRS tile in the identifier, such as `31TCJ`."""
        return find_tile(self.id)


@dataclass(frozen=True)
class SafeMetadata:
    """The main metadata of a SAFE product.

    Attributes:
        level: `L1C` or `L2A`.
        name: The product's name without `.SAFE`, or None in products before December 2016.
        baseline: Processing baseline, such as `05.09`.
        platform: `sentinel-2a`, `sentinel-2b`, `sentinel-2c`, or None.
        datetime: Start of sensing, ISO 8601 in UTC, or None.
        quantification: DN of reflectance 1.
        offset_tag: Name of the element that holds the level's offsets.
        offsets: Radiometric offset in DN by band name, for the bands with a stated offset.
        nodata: DN of a pixel without data.
        saturated: DN of a saturated pixel.
        granules: The granules; products have one since December 2016.
        properties: STAC properties: cloud cover (percent), relative orbit, orbit state.
    """

    level: str
    name: str | None
    baseline: str | None
    platform: str | None
    datetime: str | None
    quantification: float
    offset_tag: str
    offsets: Mapping[str, float]
    nodata: int
    saturated: int
    granules: tuple[Granule, ...]
    properties: Mapping[str, float | int | str]


def parse_product_metadata(xml: bytes, where: str) -> SafeMetadata:
    """Parse `MTD_MSIL1C.xml`, `MTD_MSIL2A.xml` or one of their forerunners.

    Args:
        xml: Content of the file.
        where: The file, for messages.

    Raises:
        NotAProductError: Not well-formed, has a document type definition, is not the metadata of
            a Sentinel-2 L1C or L2A product, is incomplete, or names a file outside the product.
        RadiometryError: The quantification value is not a positive number.
    """
    root = _parse(xml, where)
    kind = _local_name(root)
    if kind not in _LEVELS:
        raise NotAProductError(
            f"{where}: the root element is {kind!r}; expected {' or '.join(_LEVELS)}, the metadata "
            "of a Sentinel-2 L1C or L2A product"
        )
    level = _LEVELS[kind]
    special = dict(_special_values(root, where))
    return SafeMetadata(
        level=level,
        name=_name(root),
        baseline=_text(root, "PROCESSING_BASELINE"),
        platform=(_text(root, "SPACECRAFT_NAME") or "").lower() or None,
        datetime=_datetime(_text(root, "PRODUCT_START_TIME")),
        quantification=_quantification(root, level, where),
        offset_tag=_OFFSET[level],
        offsets=dict(_offsets(root, _OFFSET[level], where)),
        nodata=special.get("NODATA", NODATA),
        saturated=special.get("SATURATED", SATURATED),
        granules=_granules(root, where),
        properties=_properties(root, where),
    )


def parse_granule_metadata(xml: bytes, where: str) -> dict[str, float]:
    """Parse `MTD_TL.xml` or one of its forerunners.

    Args:
        xml: Content of the file.
        where: The file, for messages.

    Returns:
        STAC properties in degrees: sun azimuth, sun elevation, and the viewing incidence angle
        averaged over the bands, each if stated.

    Raises:
        NotAProductError: Not well-formed, has a document type definition, or an angle is not a
            number.
    """
    root = _parse(xml, where)
    zenith = _mean_angle(root, "Mean_Sun_Angle", "ZENITH_ANGLE", where)
    angles = {
        "view:sun_azimuth": _mean_angle(root, "Mean_Sun_Angle", "AZIMUTH_ANGLE", where),
        "view:sun_elevation": None if zenith is None else 90 - zenith,
        "view:incidence_angle": _mean_angle(
            root, "Mean_Viewing_Incidence_Angle", "ZENITH_ANGLE", where
        ),
    }
    return {key: round(angle, 6) for key, angle in angles.items() if angle is not None}


def parse_manifest(xml: bytes, where: str) -> dict[str, str]:
    """Parse `manifest.safe`.

    Args:
        xml: Content of the file.
        where: The file, for messages.

    Returns:
        Checksum such as `md5:5d41...` of each file, by its path from the product's root.

    Raises:
        NotAProductError: Not well-formed, or has a document type definition.
    """
    checksums = {}
    for file in _all(_parse(xml, where), "byteStream"):
        location, checksum = (
            next(_all(file, "fileLocation"), None),
            next(_all(file, "checksum"), None),
        )
        if location is None or checksum is None or not checksum.text:
            continue
        algorithm = _ALGORITHMS.get(checksum.get("checksumName", "").upper())
        if algorithm:
            path = location.get("href", "").removeprefix("./")
            checksums[path] = f"{algorithm}:{checksum.text.strip()}"
    return checksums


def find_tile(name: str) -> str | None:
    """The MGRS tile in a name such as `S2A_MSIL1C_..._T31TCJ_20230817T140800`, or None."""
    found = _TILE.search(name)
    return found[1] if found else None


class _LimitedBuilder(TreeBuilder):
    """Builds a tree of elements of limited depth and number."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth, self._elements = self._depth + 1, self._elements + 1
        if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_DEPTH} levels or {MAX_ELEMENTS:,} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parse(xml: bytes, where: str) -> Element:
    try:
        parser = DefusedXMLParser(target=_LimitedBuilder(), forbid_dtd=True)
        parser.feed(xml)
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise NotAProductError(
            f"{where}: has a document type definition or entities ({type(error).__name__}), which "
            "ESA's metadata never have; refused"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise NotAProductError(
            f"{where}: is not well-formed XML ({error}); download the product again"
        ) from error
    return root


def _local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(parent: Element, *names: str) -> Iterator[Element]:
    """All descendants with one of these local names, in document order."""
    return (element for element in parent.iter() if _local_name(element) in names)


def _text(parent: Element, *names: str) -> str | None:
    """Text of the first descendant with one of these local names; None if absent or empty."""
    return next(((element.text or "").strip() for element in _all(parent, *names)), None) or None


def _float(element: Element, where: str) -> float:
    try:
        return float(element.text or "")
    except ValueError:
        raise NotAProductError(
            f"{where}: {_local_name(element)} is {element.text!r}, expected a number"
        ) from None


def _number(element: Element, where: str) -> float:
    value = _float(element, where)
    if not math.isfinite(value):
        raise NotAProductError(f"{where}: {_local_name(element)} is {value}, expected a number")
    return value


def _mean_angle(root: Element, parent: str, child: str, where: str) -> float | None:
    """Mean of the finite values of these elements; bands without data have NaN."""
    angles = [_float(angle, where) for each in _all(root, parent) for angle in _all(each, child)]
    angles = [angle for angle in angles if math.isfinite(angle)]
    return sum(angles) / len(angles) if angles else None


def _name(root: Element) -> str | None:
    uri = _text(root, "PRODUCT_URI", "PRODUCT_URI_2A") or ""
    return uri.removesuffix(".SAFE") if re.fullmatch(r"S2[\w.-]+", uri, re.ASCII) else None


def _datetime(text: str | None) -> str | None:
    try:
        datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return text


def _quantification(root: Element, level: str, where: str) -> float:
    names = _QUANTIFICATION[level]
    element = next(_all(root, *names), None)
    if element is None:
        raise NotAProductError(f"{where}: has no {names[0]}; download the product again")
    value = _number(element, where)
    if value <= 0:
        raise RadiometryError(f"{where}: {names[0]} is {value}, expected a positive number")
    return value


def _offsets(root: Element, tag: str, where: str) -> Iterator[tuple[str, float]]:
    names = {str(band.band_id): name for name, band in ALL_BANDS.items()}
    for element in _all(root, tag):
        band_id = element.get("band_id", element.get("bandId"))
        if band_id is None:
            raise RadiometryError(f"{where}: a {tag} without band_id; download the product again")
        if band_id in names:  # B10 is not used
            yield names[band_id], _number(element, where)


def _special_values(root: Element, where: str) -> Iterator[tuple[str, int]]:
    for special in _all(root, "Special_Values"):
        for index in _all(special, "SPECIAL_VALUE_INDEX"):
            value = _number(index, where)
            if not 0 <= value <= 65535:
                raise RadiometryError(f"{where}: special value {value}, expected 0 to 65535")
            yield _text(special, "SPECIAL_VALUE_TEXT") or "", int(value)


def _granules(root: Element, where: str) -> tuple[Granule, ...]:
    # L2A of baselines 02.04 to 02.07 lists one granule several times, once for each resolution.
    paths: dict[str, list[str]] = {}
    for granule in _all(root, "Granule", "Granules"):
        id = _inner_path(granule.get("granuleIdentifier") or "", where)
        paths.setdefault(id, []).extend(_image_paths(granule, f"GRANULE/{id}", where))
    return tuple(Granule(id, _folder(id, images), _native(images)) for id, images in paths.items())


def _folder(id: str, paths: list[str]) -> str:
    """Folder of a granule, from the paths of its images or else from its name."""
    return "/".join(paths[0].split("/")[:2]) if paths else f"GRANULE/{id}"


def _image_paths(granule: Element, folder: str, where: str) -> Iterator[str]:
    """Path of each image of a granule, from the product's root."""
    for image in _all(granule, *_IMAGE_FILES, *_IMAGE_IDS):
        path = _inner_path((image.text or "").strip(), where).removesuffix(".jp2")
        if _local_name(image) in _IMAGE_IDS:
            match = _IMAGE_NAME.search(path)
            resolution = f"R{match['gsd']}m/" if match and match["gsd"] else ""
            path = f"{folder}/IMG_DATA/{resolution}{path}"
        yield f"{path}.jp2"


def _native(paths: Iterable[str]) -> dict[str, str]:
    """The images of our bands at native resolution, by band name."""
    images: dict[str, str] = {}
    for path in paths:
        match = _IMAGE_NAME.search(path.removesuffix(".jp2"))
        band = ALL_BANDS.get(match["band"]) if match else None
        if match and band and match["gsd"] in (None, str(band.gsd)):
            images[band.name] = path
    return images


def _inner_path(text: str, where: str) -> str:
    """Check that a path from the metadata does not lead out of the product."""
    if not _INNER_PATH.fullmatch(text):
        raise NotAProductError(
            f"{where}: names {text!r}, which is not a path inside the product; download it again"
        )
    return text


def _properties(root: Element, where: str) -> dict[str, float | int | str]:
    properties: dict[str, float | int | str] = {}
    for cloud in _all(root, "Cloud_Coverage_Assessment"):
        properties["eo:cloud_cover"] = round(_number(cloud, where), 6)
    for orbit in _all(root, "SENSING_ORBIT_NUMBER"):
        properties["sat:relative_orbit"] = int(_number(orbit, where))
    if state := _text(root, "SENSING_ORBIT_DIRECTION"):
        properties["sat:orbit_state"] = state.lower()
    return properties
