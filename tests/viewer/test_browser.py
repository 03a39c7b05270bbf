"""The page in a real browser; `make test-browser` runs this and keeps screenshots."""

import os
from pathlib import Path

import pytest

import decametre
from decametre.viewer.options import ViewOptions
from decametre.viewer.viewer import open_viewer
from tests.support.browser import CHROMIUM, DRIVER, Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        "SCREENSHOTS" not in os.environ or not (CHROMIUM and DRIVER),
        reason="run by `make test-browser`",
    ),
]

WIDE, NARROW = (1440, 900), (390, 844)


@pytest.fixture(scope="module")
def sharpened(sample_item, tmp_path_factory):
    """The sample, brought to 10 m by the model that takes least time."""
    path = tmp_path_factory.mktemp("sharpened") / "T33UUB.tif"
    decametre.sharpen(sample_item, path, model="bicubic")
    return path


@pytest.fixture(scope="module")
def viewer(sharpened):
    with open_viewer(str(sharpened), None, ViewOptions()) as running:
        yield running


@pytest.fixture(scope="module")
def window():
    with Browser(*WIDE) as browser:
        yield browser


@pytest.fixture
def page(window, viewer):
    """The page, anew; none of its scripts may report an error."""
    window.resize(*WIDE)
    window.open("about:blank")
    window.open(viewer.url)
    window.wait_for_map()
    yield window
    assert window.log() == []


def keep(browser: Browser, name: str) -> None:
    folder = Path(os.environ["SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    browser.screenshot(folder / f"{name}.png")


PIXELS = """
const [left, top, width, height] = arguments[0];
const canvas = document.querySelector("#map .ol-layers canvas");
const ratio = canvas.width / document.getElementById("map").clientWidth;
const part = canvas.getContext("2d").getImageData(left * ratio, top * ratio, width, height).data;
return Array.from(part);
"""


def pixels(browser: Browser, share: float) -> list[int]:
    """Colours of a part of the map at a share of its width."""
    width, height = browser.run("return decametre.scene.map.getSize()")
    return browser.run(PIXELS, [share * width, height / 2 - 60, 24, 24])


def share(browser: Browser) -> float:
    return browser.run("return decametre.scene.share")


def test_the_swipe_line_follows_the_pointer_and_uncovers_the_other_side(page):
    box = page.run(
        "const box = document.getElementById('swipe').getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height / 2]"
    )
    stage = page.run("return document.getElementById('stage').getBoundingClientRect().toJSON()")
    after = pixels(page, 0.6)
    target = stage["left"] + 0.8 * stage["width"]
    page.drag([tuple(box), (box[0] + 40, box[1]), (target, box[1])])
    assert share(page) == pytest.approx(0.8, abs=0.01)
    page.wait_for_map()
    assert pixels(page, 0.6) != after
    keep(page, "swipe")


def test_a_composite_is_chosen_by_click_and_by_list(page):
    first = pixels(page, 0.6)
    page.click("[data-key='preset True colour']")
    page.wait_for_map()
    assert page.run("return decametre.style.bands") == ["B04", "B03", "B02"]
    assert pixels(page, 0.6) != first
    page.run(
        "const list = document.querySelector('[data-key=\"channel Red\"]');"
        "list.value = 'B12'; list.dispatchEvent(new Event('change'));"
    )
    assert page.run("return decametre.style.bands") == ["B12", "B03", "B02"]
    keep(page, "composite")


def test_the_spectrum_follows_the_pointer_and_a_click_keeps_it(page):
    page.hover(560, 450)
    page.wait("decametre.spectrum.values.result")
    assert page.run("return document.querySelectorAll('.dot.result').length") == 12
    assert page.run("return document.querySelectorAll('.dot.before').length") == 12
    values = page.run("return decametre.spectrum.values")
    assert values["result"]["B02"] == values["before"]["B02"]
    page.drag([(560, 450)])
    page.wait("decametre.scene.marker.getSource().getFeatures().length == 1")
    page.run("document.querySelector('#spectrum details').open = true")
    keep(page, "spectrum")
    page.keys("escape")
    page.wait("decametre.scene.marker.getSource().getFeatures().length == 0")


def test_keys_move_the_line_choose_presets_and_flip(page):
    page.keys("left", "left")
    assert share(page) == pytest.approx(0.46)
    page.keys("right")
    assert share(page) == pytest.approx(0.48)
    page.keys("1")
    assert page.run("return decametre.style.bands") == ["B04", "B03", "B02"]
    page.keys(" ", hold=True)
    assert page.run("return decametre.scene.shownShare") == 1
    page.release()
    assert page.run("return decametre.scene.shownShare") == pytest.approx(0.48)
    page.keys("m", "m")
    assert page.run("return decametre.style.kind") == "index"
    page.keys("2")
    assert page.run("return decametre.style.index") == "NDMI"
    page.wait_for_map()
    keep(page, "index")
    page.keys("?")
    assert page.run("return document.getElementById('help').open")
    keep(page, "keys")
    page.keys("escape")
    assert not page.run("return document.getElementById('help').open")


def test_the_view_is_a_picture_with_both_sides(page):
    size = page.run(
        "return import('./assets/download.js').then(({ compose }) => {"
        "  const picture = compose(decametre.scene, 'caption');"
        "  const [width, height] = decametre.scene.map.getSize();"
        "  const at = (x) => picture.getContext('2d').getImageData(x * width, height / 2, 9, 9);"
        "  const lit = (x) => at(x).data.some((value) => value > 60 && value < 255);"
        "  return [picture.width - width, picture.height - height, lit(0.3), lit(0.7)];"
        "})"
    )
    assert size == [0, 30, True, True]


def test_the_card_is_readable(page):
    text = page.run("return document.getElementById('quality').innerText")
    assert "raster:offset 0 of asset B01" in text
    assert "bicubic" in text
    assert "Consistency with the input" in text
    page.run("document.getElementById('quality').scrollTop = 400")
    keep(page, "card")


def test_on_a_narrow_screen_panels_open_below_the_map(page):
    page.resize(*NARROW)
    page.run("decametre.scene.fit()")
    page.wait_for_map()
    keep(page, "narrow")
    for panel in ("display", "spectrum", "quality"):
        page.click(f"#tabs [data-panel={panel}]")
        box = page.run(
            "return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", panel
        )
        assert (box["left"], box["width"]) == (0, NARROW[0])
        assert box["top"] > NARROW[1] / 3
        page.wait_for_map()
        keep(page, f"narrow-{panel}")
    assert page.run("return document.documentElement.scrollWidth") <= NARROW[0]
    page.click("#tabs [data-panel=quality]")
    assert page.run("return getComputedStyle(document.getElementById('quality')).display") == "none"


def test_a_fleet_opens_a_product_and_returns(window, sharpened, tmp_path):
    from decametre.fleet.catalog import Catalog

    for suffix in (".tif", ".json"):
        target = tmp_path / "T33UUB" / f"T33UUB{suffix}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(sharpened.with_suffix(suffix).read_bytes())
    Catalog(tmp_path, "Test").add("T33UUB", "T33UUB/T33UUB.json")
    window.resize(*WIDE)
    with open_viewer(str(tmp_path), None, ViewOptions()) as viewer:
        window.open(viewer.url)
        window.wait("document.querySelector('.products button')")
        keep(window, "fleet")
        window.click(".products button")
        window.wait_for_map()
        assert window.run("return location.hash") == "#product-0"
        window.run("delete window.decametre; document.body.dataset.ready = ''")
        window.click(".back")
        window.wait("document.querySelector('.products button')")
    assert window.log() == []
