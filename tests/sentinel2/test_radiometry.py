import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decametre.sentinel2.radiometry import Radiometry

AFTER_0400 = Radiometry(scale=1e-4, offset=-0.1)


@given(st.integers(1, 65534), st.sampled_from([Radiometry(), AFTER_0400]))
def test_dn_to_reflectance_and_back(dn, radiometry):
    array = np.array([dn], np.uint16)
    assert radiometry.to_dn(radiometry.to_reflectance(array)) == dn


def test_the_offset_is_honoured():
    assert np.isclose(AFTER_0400.to_reflectance(np.array([1000], np.uint16)), 0)
    assert AFTER_0400.offset_dn == -1000
    assert AFTER_0400.to_dn(np.array([0.0], np.float32)) == 1000


def test_negative_and_huge_values_never_wrap_nor_become_nodata():
    values = np.array([-5.0, -0.2, 0.0, 6.5535, 100.0], np.float32)
    assert Radiometry().to_dn(values).tolist() == [1, 1, 1, 65534, 65534]


def test_clouds_above_10000_are_measurements():
    dn = np.array([0, 1, 10001, 28000, 65534, 65535], np.uint16)
    assert Radiometry().valid(dn).tolist() == [False, True, True, True, True, False]
