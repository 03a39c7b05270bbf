"""Pixels of tiles and values under the cursor are those of the files."""

import io

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.windows import Window

from decametre.viewer import styles
from tests.viewer.conftest import SIZE, reflectance

COMPOSITE = "style=composite&bands=B12,B8A,B04&low=0,0,0.01&high=0.3,0.5,0.2&gamma=1"


def tile(client, address: str) -> np.ndarray:
    response = client.get(f"products/0/tiles/{address}")
    assert response.status == 200, response.content
    assert response.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def read(path, band: int, window: Window, shape=None) -> np.ndarray:
    with rasterio.open(path) as dataset:
        resampling = rasterio.enums.Resampling.average
        return dataset.read(band, window=window, out_shape=shape, resampling=resampling)


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255)


def test_a_composite_has_the_pixels_of_the_file(client, result):
    image = tile(client, f"result/1/0/0.png?{COMPOSITE}")
    assert image.shape == (512, 512, 4)
    limits = {12: (0, 0.3), 9: (0, 0.5), 4: (0.01, 0.2)}
    for channel, (band, (low, high)) in enumerate(limits.items()):
        values = reflectance(read(result, band, Window(0, 0, 512, 512)))
        assert np.abs(image[..., channel] - to_bytes(values, low, high)).max() <= 1
    assert (image[..., 3] == 255).all()


def test_outside_the_image_a_tile_is_transparent(client):
    image = tile(client, f"result/1/1/1.png?{COMPOSITE}")
    assert (image[: SIZE - 512, : SIZE - 512, 3] == 255).all()
    assert (image[SIZE - 512 :, :, 3] == 0).all()
    assert (image[:, SIZE - 512 :, 3] == 0).all()
    assert not tile(client, f"result/1/7/7.png?{COMPOSITE}").any()


def test_without_data_a_pixel_is_transparent_and_its_neighbours_are_not(client):
    image = tile(client, "result/1/0/0.png?style=band&bands=B02&low=0&high=1&scale=gray")
    assert not image[:20, :30].any()
    assert (image[20:, :, 3] == 255).all()
    assert (image[:, 30:, 3] == 255).all()


def test_a_coarser_tile_is_the_overview(client, result):
    image = tile(client, "result/0/0/0.png?style=band&bands=B08&low=0&high=0.6&scale=gray")
    half = SIZE // 2
    values = reflectance(read(result, 8, Window(0, 0, SIZE, SIZE), (half, half)))
    assert np.abs(image[:half, :half, 0] - to_bytes(values, 0, 0.6)).max() <= 1
    assert (image[half:, :, 3] == 0).all()


@pytest.mark.parametrize(("band", "factor"), [("B04", 1), ("B11", 2), ("B01", 6)])
def test_before_shows_native_pixels(client, sample, band, factor):
    image = tile(client, f"before/1/0/0.png?style=band&bands={band}&low=0&high=0.4&scale=gray")
    native = read(sample.bands[band].path, 1, Window(0, 0, 600 // factor, 600 // factor))
    values = reflectance(native).repeat(factor, axis=0).repeat(factor, axis=1)[:512, :512]
    assert np.abs(image[..., 0] - to_bytes(values, 0, 0.4)).max() <= 1


def test_an_index_is_the_normalized_difference(client, result):
    image = tile(client, "result/1/0/0.png?style=index&index=NDVI&low=-0.2&high=0.9&scale=gray")
    red, near = (reflectance(read(result, band, Window(0, 0, 512, 512))) for band in (4, 8))
    expected = to_bytes((near - red) / (near + red), -0.2, 0.9)
    assert np.abs(image[..., 0] - expected).max() <= 1


def test_a_colour_scale_begins_and_ends_with_its_colours():
    table = styles.colour_scale("viridis")
    assert table.shape == (256, 3)
    assert tuple(table[0]) == (0x44, 0x01, 0x54)
    assert tuple(table[255]) == (0xFD, 0xE7, 0x25)
    values = np.array([[-1.0, 0.0, 1.0, 9.0, np.nan]], np.float32)
    image = styles.coloured(values, (0, 1), "viridis")
    assert [tuple(pixel[:3]) for pixel in image[0, :4]] == [
        tuple(table[i]) for i in (0, 0, 255, 255)
    ]
    assert list(image[0, :, 3]) == [255, 255, 255, 255, 0]


def test_an_index_without_light_has_no_value():
    dark = np.array([0.0, -0.1, 0.2], np.float32)
    values = styles.INDICES["NDVI"].values(dark, np.zeros(3, np.float32))
    assert np.isnan(values[:2]).all()
    assert values[2] == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("style=composit", "unknown style 'composit'; did you mean composite?"),
        ("style=composite&bands=B04,B03&low=0,0&high=1,1", "give 3 values each"),
        ("style=band&bands=B99&low=0&high=1", "unknown band 'B99'"),
        ("style=band&bands=B04&low=0&high=nan", "high 'nan': give numbers"),
        ("style=band&bands=B04&low=0&high=1&scale=jett", "unknown colour scale"),
        ("style=index&index=NDXI&low=0&high=1", "unknown index"),
        (f"{COMPOSITE}&gamma=0", "gamma 0: give a number"),
    ],
)
def test_a_wrong_style_is_one_line(client, query, message):
    response = client.get(f"products/0/tiles/result/0/0/0.png?{query}")
    assert response.status == 400
    assert message in response.content.decode()
    assert len(response.content.decode().splitlines()) == 1


def test_a_zoom_level_or_layer_that_does_not_exist_is_one_line(client):
    assert (
        b"there are 2 levels"
        in client.get(f"products/0/tiles/result/2/0/0.png?{COMPOSITE}").content
    )
    assert b"unknown layer" in client.get(f"products/0/tiles/both/0/0/0.png?{COMPOSITE}").content


def test_values_are_those_under_the_cursor(client, result, sample):
    column, row = 301, 402
    x = sample.grid.left + 10 * column + 3
    y = sample.grid.top - 10 * row - 7
    values = client.json(f"products/0/values?x={x}&y={y}")
    with rasterio.open(result) as dataset:
        numbers = dataset.read(window=Window(column, row, 1, 1))[:, 0, 0]
    assert list(values["result"]) == list(sample.bands)
    assert list(values["result"].values()) == pytest.approx(numbers * 1e-4, abs=1e-6)
    with rasterio.open(sample.bands["B09"].path) as dataset:
        native = dataset.read(1)[row // 6, column // 6]
    assert values["before"]["B09"] == pytest.approx(native * 1e-4, abs=1e-6)
    assert values["lon"] == pytest.approx(11.84, abs=0.1)
    assert values["lat"] == pytest.approx(55.88, abs=0.1)


def test_values_without_data_are_null(client, sample):
    corner = client.json(f"products/0/values?x={sample.grid.left + 5}&y={sample.grid.top - 5}")
    assert corner["result"]["B02"] is None
    assert corner["result"]["B03"] is not None
    far = client.json(f"products/0/values?x={sample.grid.left - 5}&y={sample.grid.top - 5}")
    assert set(far["result"].values()) == {None}
    assert b"x: give a number" in client.get("products/0/values?x=left&y=0").content


def test_limits_are_percentiles_of_the_area(client, result, sample):
    left, top = sample.grid.left, sample.grid.top
    area = f"west={left}&south={top - 1000}&east={left + 2000}&north={top}"
    limits = client.json(f"products/0/limits?{area}")
    values = reflectance(read(result, 11, Window(0, 0, 200, 100)))
    assert limits["B11"] == pytest.approx(np.percentile(values, (2, 98)), abs=1e-6)
    assert b"area is empty" in client.get(f"products/0/limits?{area}&east={left}").content
