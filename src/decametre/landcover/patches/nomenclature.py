"""Land-cover classes: BigEarthNet's 43, its 19, and the mapping from the 43 to the 19.

The orders and the mapping are those of `label_indices.json`, which BigEarthNet's authors publish
with their 19-class models (Sumbul et al. 2021). Names are spelled as in the label files of
BigEarthNet v1 and v2, which is not always how CORINE spells them ("Peatbogs", "Bare rock").
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from decametre.errors import PatchError, UnknownNameError

MISSPELLED = 0.85
"""Similarity to a published class, from 0 to 1, from which a label counts as misspelled."""

CORINE43_TO_19: dict[str, str | None] = {
    "Continuous urban fabric": "Urban fabric",
    "Discontinuous urban fabric": "Urban fabric",
    "Industrial or commercial units": "Industrial or commercial units",
    "Road and rail networks and associated land": None,
    "Port areas": None,
    "Airports": None,
    "Mineral extraction sites": None,
    "Dump sites": None,
    "Construction sites": None,
    "Green urban areas": None,
    "Sport and leisure facilities": None,
    "Non-irrigated arable land": "Arable land",
    "Permanently irrigated land": "Arable land",
    "Rice fields": "Arable land",
    "Vineyards": "Permanent crops",
    "Fruit trees and berry plantations": "Permanent crops",
    "Olive groves": "Permanent crops",
    "Pastures": "Pastures",
    "Annual crops associated with permanent crops": "Permanent crops",
    "Complex cultivation patterns": "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        "Land principally occupied by agriculture, with significant areas of natural vegetation"
    ),
    "Agro-forestry areas": "Agro-forestry areas",
    "Broad-leaved forest": "Broad-leaved forest",
    "Coniferous forest": "Coniferous forest",
    "Mixed forest": "Mixed forest",
    "Natural grassland": "Natural grassland and sparsely vegetated areas",
    "Moors and heathland": "Moors, heathland and sclerophyllous vegetation",
    "Sclerophyllous vegetation": "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland/shrub": "Transitional woodland, shrub",
    "Beaches, dunes, sands": "Beaches, dunes, sands",
    "Bare rock": None,
    "Sparsely vegetated areas": "Natural grassland and sparsely vegetated areas",
    "Burnt areas": None,
    "Inland marshes": "Inland wetlands",
    "Peatbogs": "Inland wetlands",
    "Salt marshes": "Coastal wetlands",
    "Salines": "Coastal wetlands",
    "Intertidal flats": None,
    "Water courses": "Inland waters",
    "Water bodies": "Inland waters",
    "Coastal lagoons": "Marine waters",
    "Estuaries": "Marine waters",
    "Sea and ocean": "Marine waters",
}
"""Class of the 19 for each of the 43, in CORINE's order; None if there is none."""

CLASSES = {
    "corine43": tuple(CORINE43_TO_19),
    "bigearthnet19": (
        "Urban fabric",
        "Industrial or commercial units",
        "Arable land",
        "Permanent crops",
        "Pastures",
        "Complex cultivation patterns",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "Agro-forestry areas",
        "Broad-leaved forest",
        "Coniferous forest",
        "Mixed forest",
        "Natural grassland and sparsely vegetated areas",
        "Moors, heathland and sclerophyllous vegetation",
        "Transitional woodland, shrub",
        "Beaches, dunes, sands",
        "Inland wetlands",
        "Coastal wetlands",
        "Inland waters",
        "Marine waters",
    ),
}
"""Classes of the published nomenclatures, in the official order."""


@dataclass(frozen=True)
class Nomenclature:
    """An ordered list of classes. A patch may have several of them.

    Attributes:
        name: `corine43`, `bigearthnet19`, or another name for any other list.
        classes: Class names, in the order of label columns.

    Raises:
        PatchError: A class appears twice, or a published name is used for other classes.
    """

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise PatchError(
                f"nomenclature '{self.name}' has no class, or the same one twice: {self.classes}"
            )
        official = CLASSES.get(self.name, self.classes)
        if self.classes != official:
            index, given, expected = next(
                (index, *pair)
                for index, pair in enumerate(
                    zip((*self.classes, "none"), (*official, "none"), strict=False)
                )
                if pair[0] != pair[1]
            )
            raise PatchError(
                f"nomenclature '{self.name}': class {index} is '{given}', not '{expected}'; "
                "give another list another name"
            )

    def row(self, labels: Iterable[str]) -> np.ndarray:
        """Encode labels as a row of a binary matrix.

        Args:
            labels: Class names, in any order.

        Returns:
            uint8, (classes,): 1 where a class is among the labels.

        Raises:
            UnknownNameError: A label is unknown; the message proposes the nearest class.
        """
        row = np.zeros(len(self.classes), np.uint8)
        for label in labels:
            if label not in self.classes:
                raise UnknownNameError(f"class of {self.name}", label, self.classes)
            row[self.classes.index(label)] = 1
        return row

    def labels(self, row: np.ndarray) -> tuple[str, ...]:
        """Decode a row into labels, in the order of the classes."""
        return tuple(name for name, present in zip(self.classes, row, strict=True) if present)


CORINE43 = Nomenclature("corine43", CLASSES["corine43"])
BIGEARTHNET19 = Nomenclature("bigearthnet19", CLASSES["bigearthnet19"])


def to_nineteen(labels: Iterable[str]) -> tuple[str, ...]:
    """Convert labels of the 43 classes to the 19.

    Args:
        labels: Names among the 43 classes.

    Returns:
        Names among the 19 classes, in their order, each once; may be empty.

    Raises:
        UnknownNameError: A label is unknown; the message proposes the nearest class.
    """
    given = CORINE43.labels(CORINE43.row(labels))
    found = {CORINE43_TO_19[label] for label in given}
    return tuple(name for name in BIGEARTHNET19.classes if name in found)


def nomenclature_of(classes: Iterable[str]) -> Nomenclature:
    """The smallest published nomenclature with all classes, or else a new one of these classes."""
    names = set(classes)
    for known in (BIGEARTHNET19, CORINE43):
        if names <= set(known.classes):
            return known
    return Nomenclature("other", tuple(sorted(names)))


def match_labels(labels: Iterable[str], source: str) -> dict[str, str]:
    """The class that each label stands for, whatever its case and spaces.

    `pastures ` is `Pastures`. Labels of one's own nomenclature stand for themselves, or for the
    first, by the alphabet, of those that differ in case or spaces only.

    Args:
        labels: Labels as users write them.
        source: Where they come from, for messages.

    Raises:
        UnknownNameError: Some labels are of a published nomenclature, and one is nearly so: it is
            misspelled. The message proposes the nearest class.
    """
    given = sorted(set(labels))
    published = {_key(name): name for name in (*CORINE43.classes, *BIGEARTHNET19.classes)}
    if any(_key(label) in published for label in given):
        for label in given:
            near = difflib.get_close_matches(_key(label), published, 1, MISSPELLED)
            if near and _key(label) not in published:
                raise UnknownNameError(f"class in {source}", label, published.values())
    own = {_key(label): " ".join(label.split()) for label in reversed(given)}
    return {label: published.get(_key(label), own[_key(label)]) for label in given}


def _key(label: str) -> str:
    return " ".join(label.casefold().split())
