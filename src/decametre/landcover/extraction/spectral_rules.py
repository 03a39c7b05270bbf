"""Classes of pixels by spectral rules: published indices against stated thresholds.

They say what a pixel's reflectance looks like, not what is there: a dark roof may look like water,
a fallow field like a desert. They serve to check whether a network can learn classes of which it
sees no pixel's value named; scores against them are no accuracy.

The first rule that holds gives a pixel its class. (a, b) is (a - b) / (a + b).

==========  ====================================================  ===============================
Snow        NDSI (B03, B11) > 0.4; B08 > 0.15; B02 > 0.18         Hall et al. 1995; for the rest,
                                                                  the lower thresholds of Sen2Cor
Water       MNDWI (B03, B11) > 0.3; NDWI (B03, B08) > 0           Xu 2006; McFeeters 1996
Vegetation  NDVI (B08, B04) > 0.4                                 Rouse et al. 1974
Bare        BSI (B11 + B04, B08 + B02) > 0.1                      Rikimaru et al. 2002
ground
Built-up    NDBI (B11, B08) > -0.1                                Zha et al. 2003
==========  ====================================================  ===============================

Two thresholds are not the authors' 0. MNDWI: at the top of the atmosphere, haze lifts the green of
shaded streets above their short-wave infrared. NDBI: between houses stand trees.

Sources:
    * D. K. Hall, G. A. Riggs, V. V. Salomonson. Development of methods for mapping global snow
      cover using MODIS data. Remote Sensing of Environment 54, 1995.
    * H. Xu. Modification of normalised difference water index (NDWI) to enhance open water features
      in remotely sensed imagery. International Journal of Remote Sensing 27(14), 2006.
    * S. K. McFeeters. The use of the normalized difference water index (NDWI) in the delineation of
      open water features. International Journal of Remote Sensing 17(7), 1996.
    * J. W. Rouse, R. H. Haas, J. A. Schell, D. W. Deering. Monitoring vegetation systems in the
      Great Plains with ERTS. NASA SP-351, 1974.
    * A. Rikimaru, P. S. Roy, S. Miyatake. Tropical forest cover density mapping. Tropical Ecology
      43(1), 2002.
    * Y. Zha, J. Gao, S. Ni. Use of normalized difference built-up index in automatically mapping
      urban areas from TM imagery. International Journal of Remote Sensing 24(3), 2003.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BANDS = ("B02", "B03", "B04", "B08", "B11")
"""The bands that the rules look at."""

NOT_MEASURED = 0
"""Code of a pixel without a measurement in one of the bands."""

CLASSES: Mapping[int, str] = {
    1: "Water",
    2: "Vegetation",
    3: "Bare ground",
    4: "Built-up",
    5: "Snow",
}
"""Class by code."""

UNCLASSIFIED = 6
"""Code of a measured pixel for which no rule holds; no class."""

COLOURS: Mapping[int, tuple[int, int, int]] = {
    1: (38, 103, 196),
    2: (54, 143, 61),
    3: (214, 178, 108),
    4: (196, 52, 60),
    5: (240, 248, 255),
    UNCLASSIFIED: (128, 128, 128),
}
"""Red, green and blue by code, for maps."""


def classify(reflectance: Mapping[str, np.ndarray]) -> np.ndarray:
    """The classes of pixels.

    Args:
        reflectance: Of `BANDS`, offset applied, of one shape; less than 0 counts as 0.

    Returns:
        uint8 codes of `CLASSES`, or `UNCLASSIFIED`, of that shape.
    """
    blue, green, red, near, short = (np.maximum(reflectance[name], 0) for name in BANDS)
    greenness = _contrast(green, short)
    snow = (greenness > 0.4) & (near > 0.15) & (blue > 0.18)
    water = (greenness > 0.3) & (green > near)
    vegetation = _contrast(near, red) > 0.4
    bare = _contrast(short + red, near + blue) > 0.1
    built = _contrast(short, near) > -0.1
    codes = {name: code for code, name in CLASSES.items()}
    order = ("Snow", "Water", "Vegetation", "Bare ground", "Built-up")
    found = np.select(
        [snow, water, vegetation, bare, built], [codes[name] for name in order], UNCLASSIFIED
    )
    return found.astype(np.uint8)


def _contrast(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a - b) / (a + b); -1 where both are 0, so that no rule holds of what is black."""
    total = a + b
    out = np.full(total.shape, -1, np.float32)
    return np.divide(a - b, total, out=out, where=total > 0)
