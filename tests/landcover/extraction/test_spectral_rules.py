"""Rules against reflectances of known surfaces, and against their definitions by hand."""

import numpy as np
import pytest

from decametre.landcover.extraction.spectral_rules import (
    BANDS,
    CLASSES,
    COLOURS,
    NOT_MEASURED,
    UNCLASSIFIED,
    classify,
)


def named(**reflectance):
    """The class of one pixel."""
    arrays = {name: np.full((1, 1), reflectance[name], np.float32) for name in BANDS}
    return CLASSES.get(int(classify(arrays)[0, 0]))


@pytest.mark.parametrize(
    ("name", "blue", "green", "red", "near", "short"),
    [
        # Typical surface reflectances, of spectral libraries' order.
        ("Water", 0.04, 0.05, 0.03, 0.02, 0.01),
        ("Vegetation", 0.03, 0.06, 0.04, 0.40, 0.20),
        ("Bare ground", 0.10, 0.16, 0.24, 0.30, 0.40),
        ("Built-up", 0.16, 0.18, 0.20, 0.24, 0.25),
        ("Snow", 0.90, 0.92, 0.90, 0.85, 0.10),
        # A cloud is bright in the short-wave infrared; grey is nothing but built-up.
        ("Built-up", 0.60, 0.60, 0.60, 0.62, 0.55),
        # Neither green enough, nor dry: withered grass.
        (None, 0.06, 0.08, 0.10, 0.22, 0.16),
        # Black, and what an offset makes negative.
        (None, 0.0, 0.0, 0.0, 0.0, 0.0),
        (None, -0.01, -0.02, -0.01, -0.01, -0.02),
        ("Water", 0.02, 0.01, -0.01, -0.02, -0.01),
    ],
)
def test_known_surfaces(name, blue, green, red, near, short):
    assert named(B02=blue, B03=green, B04=red, B08=near, B11=short) == name


def test_thresholds_are_those_that_the_documentation_states():
    def with_index(value, other):
        """A band that makes (band, other) this index."""
        return other * (1 + value) / (1 - value)

    dark = {"B02": 0.02, "B04": 0.02}
    for index, expected in ((0.29, None), (0.31, "Water")):
        green = with_index(index, 0.02)
        # Near infrared below green, and above short-wave infrared by more than NDBI allows.
        assert named(**dark, B03=green, B08=0.026, B11=0.02) == expected
    for index, expected in ((0.39, "Built-up"), (0.41, "Vegetation")):
        near = with_index(index, 0.1)
        assert named(B02=0.1, B03=0.1, B04=0.1, B08=near, B11=near) == expected
    for index, expected in ((0.09, "Built-up"), (0.11, "Bare ground")):
        warm = with_index(index, 0.35)  # B11 + B04 against B08 + B02
        assert named(B02=0.15, B03=0.2, B04=0.2, B08=0.2, B11=warm - 0.2) == expected
    for index, expected in ((-0.11, None), (-0.09, "Built-up")):
        short = with_index(index, 0.2)
        assert named(B02=0.15, B03=0.15, B04=0.15, B08=0.2, B11=short) == expected
    for index, expected in ((0.39, "Water"), (0.41, "Snow")):
        short = with_index(-index, 0.5)
        assert named(B02=0.5, B03=0.5, B04=0.5, B08=0.45, B11=short) == expected
    # Bright water is no snow: too little blue, or near infrared.
    assert named(B02=0.17, B03=0.3, B04=0.3, B08=0.2, B11=0.05) == "Water"
    assert named(B02=0.3, B03=0.3, B04=0.3, B08=0.14, B11=0.05) == "Water"


def test_the_code_of_a_pixel_depends_on_its_own_values_only():
    random = np.random.default_rng(0)
    images = {name: random.uniform(-0.05, 1, (40, 30)).astype(np.float32) for name in BANDS}
    found = classify(images)
    assert found.dtype == np.uint8
    assert found.shape == (40, 30)
    assert set(np.unique(found)) <= {*CLASSES, UNCLASSIFIED}
    alone = classify({name: image[7:8, 9:10] for name, image in images.items()})
    assert alone[0, 0] == found[7, 9]


def test_codes_and_colours_belong_together():
    assert NOT_MEASURED not in CLASSES
    assert UNCLASSIFIED not in CLASSES
    assert set(COLOURS) == {*CLASSES, UNCLASSIFIED}
