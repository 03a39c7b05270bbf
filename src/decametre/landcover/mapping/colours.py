"""Colours of classes on maps."""

from __future__ import annotations

import colorsys

from decametre.landcover.patches.nomenclature import CORINE43_TO_19, Nomenclature

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

CORINE: dict[str, Colour] = {
    "Continuous urban fabric": (230, 0, 77),
    "Discontinuous urban fabric": (255, 0, 0),
    "Industrial or commercial units": (204, 77, 242),
    "Road and rail networks and associated land": (204, 0, 0),
    "Port areas": (230, 204, 204),
    "Airports": (230, 204, 230),
    "Mineral extraction sites": (166, 0, 204),
    "Dump sites": (166, 77, 0),
    "Construction sites": (255, 77, 255),
    "Green urban areas": (255, 166, 255),
    "Sport and leisure facilities": (255, 230, 255),
    "Non-irrigated arable land": (255, 255, 168),
    "Permanently irrigated land": (255, 255, 0),
    "Rice fields": (230, 230, 0),
    "Vineyards": (230, 128, 0),
    "Fruit trees and berry plantations": (242, 166, 77),
    "Olive groves": (230, 166, 0),
    "Pastures": (230, 230, 77),
    "Annual crops associated with permanent crops": (255, 230, 166),
    "Complex cultivation patterns": (255, 230, 77),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        (230, 204, 77)
    ),
    "Agro-forestry areas": (242, 204, 166),
    "Broad-leaved forest": (128, 255, 0),
    "Coniferous forest": (0, 166, 0),
    "Mixed forest": (77, 255, 0),
    "Natural grassland": (204, 242, 77),
    "Moors and heathland": (166, 255, 128),
    "Sclerophyllous vegetation": (166, 230, 77),
    "Transitional woodland/shrub": (166, 242, 0),
    "Beaches, dunes, sands": (230, 230, 230),
    "Bare rock": (204, 204, 204),
    "Sparsely vegetated areas": (204, 255, 204),
    "Burnt areas": (0, 0, 0),
    "Inland marshes": (166, 166, 255),
    "Peatbogs": (77, 77, 255),
    "Salt marshes": (204, 204, 255),
    "Salines": (230, 230, 255),
    "Intertidal flats": (166, 166, 230),
    "Water courses": (0, 204, 242),
    "Water bodies": (128, 242, 230),
    "Coastal lagoons": (0, 255, 166),
    "Estuaries": (166, 255, 230),
    "Sea and ocean": (230, 242, 255),
}
"""The legend of CORINE Land Cover (European Environment Agency), level 3."""

GOLDEN_TURN = 0.6180339887498949
"""Step on the colour wheel from one class to the next; no two classes get the same hue."""


def colours_of(nomenclature: Nomenclature) -> list[Colour]:
    """Colours of the classes, in their order.

    The colours are those of CORINE. A class of the 19 has the colour of its first class of the 43.
    Other classes get hues spread over the colour wheel.
    """
    known = dict(CORINE)
    for name, merged in CORINE43_TO_19.items():
        if merged is not None:
            known.setdefault(merged, CORINE[name])
    if nomenclature.name in ("corine43", "bigearthnet19"):
        return [known[name] for name in nomenclature.classes]
    return [_spread(number) for number in range(len(nomenclature.classes))]


def _spread(number: int) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(
        number * GOLDEN_TURN % 1, (0.45, 0.65, 0.3)[number % 3], (0.75, 0.55)[number % 2]
    )
    return round(255 * red), round(255 * green), round(255 * blue)
