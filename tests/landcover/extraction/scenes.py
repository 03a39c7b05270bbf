"""Products for tests of extraction, without files or with synthetic pixels."""

from dataclasses import replace

import numpy as np

from decametre.bench.synthetic_safe import make_safe
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.grid import Grid
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from tests.support.synthetic_tile import make_sharpened

FINE = [name for name, band in ALL_BANDS.items() if band.gsd == 10]


def product_of(width=600, height=600, left=300000, top=5400000, crs="EPSG:32633", **facts):
    """A product without files."""
    product = Product(
        id="S2A_MSIL2A_20170613T101031_N0500_R022_T33UUP_20230101T000000",
        source="made",
        level="L2A",
        baseline="05.00",
        platform="sentinel-2a",
        datetime="2017-06-13T10:10:31Z",
        tile="33UUP",
        grid=Grid(crs, left, top, width, height),
        bands={},
        missing={},
        offset_reason="",
    )
    return replace(product, **facts)


def pixels(width, height, seed=0):
    """Random DN for every band on its native grid."""
    random = np.random.default_rng(seed)
    return {
        name: random.integers(
            1, 10000, (height * 10 // band.gsd, width * 10 // band.gsd), dtype=np.uint16
        )
        for name, band in ALL_BANDS.items()
    }


def made_product(folder, width=360, height=360, seed=0, **options):
    """A SAFE product with its pixels by band."""
    folder.mkdir(parents=True, exist_ok=True)
    bands = pixels(width, height, seed)
    safe = make_safe(folder, bands, **({"level": "L2A", "offset_dn": -1000} | options))
    return safe, bands


def made_tile(path, safe, bands, seed=100, **options):
    """A sharpened tile of a product, with its pixels: (12, rows, columns)."""
    product = open_product(str(safe))
    random = np.random.default_rng(seed)
    grid = product.grid
    images = {
        name: bands[name]
        if name in FINE
        else random.integers(1, 10000, (grid.height, grid.width), dtype=np.uint16)
        for name in BAND_NAMES
    }
    make_sharpened(path, product, lambda name, rows: images[name][rows], **options)
    return np.stack([images[name] for name in BAND_NAMES])
