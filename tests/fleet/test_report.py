import base64
import io
import random
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from decametre.cli.fleet.report import report
from decametre.errors import FleetError, OutputError
from decametre.fleet import figures
from decametre.fleet.events import read_events
from decametre.fleet.history import OTHER, History
from decametre.fleet.report import render, write_report
from decametre.fleet.residuals import summarise
from tests.fleet.journals import STAGES, Written, busy, residuals


def history_of(out) -> History:
    history = History()
    for event in read_events(out):
        history.add(event)
    history.close()
    return history


class Page(HTMLParser):
    """Elements of a page that are opened and closed, what its links are, and its words."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found["src"])
        self.loaded += [v for k, v in attrs if k in ("src", "xlink:href") and tag != "a"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A picture that is larger than a page wants it."""
    path = tmp_path_factory.mktemp("pictures") / "large.png"
    pixels = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


def beside(out, name, picture) -> str:
    """A picture beside a result."""
    (out / name).mkdir()
    shutil.copy(picture, out / name / f"{name}.quicklook.png")
    return f"{name}/{name}.quicklook.png"


@pytest.fixture
def interrupted(tmp_path, large):
    """Two runs of 20 products: interrupted after nine, then two failures; one outlier."""
    chance = random.Random(1)
    journal = Written(tmp_path)
    journal.run(20)
    journal.worker("0")
    for number in range(9):
        name = f"P {number}"
        journal.done(name, consistency=residuals(chance), quicklook=beside(tmp_path, name, large))
    journal.ended("interrupted")
    journal.run(20, before=9, after=86400)
    journal.worker("tcp://two", name="one $x$ worker")
    for number in range(9, 18):
        journal.done(
            f"P {number}",
            worker="tcp://two",
            consistency=residuals(chance, 30 if number == 12 else 1),
            quicklook=beside(tmp_path, f"P {number}", large),
        )
    there = {"worker": "tcp://two"}
    journal.failed("<script>bad()</script>", reason='"<b>" & such', attempt=3, stage="<i>", **there)
    journal.failed("Q", final=False, **there)
    journal.failed("Q", stage="compute", attempt=2, **there)
    journal.ended("failures")
    return journal


def test_the_page_stands_by_itself(interrupted):
    page = Page(write_report(interrupted.out).read_text())
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert page.loaded
    assert all(value.startswith(("data:image/", "#")) for value in page.loaded)
    assert sorted(p.name for p in interrupted.out.iterdir() if not p.name.startswith("P")) == [
        "fleet",
        "report.html",
    ]


def test_counts_are_those_of_all_runs_and_failures_of_the_latest(interrupted):
    words = Page(render(interrupted.out, interrupted.out)).words
    assert "sharpen: 18 of 20 products done" in words
    assert "ended; some products failed" in words
    assert "2 runs" in words
    assert "Failed attempts that were followed by another: 1." in words
    assert "18.0 MB" in words  # read in both runs


def test_nothing_in_a_journal_can_bring_markup(interrupted):
    text = render(interrupted.out, interrupted.out)
    assert "<script" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert '"<b>" & such' in Page(text).words
    assert "<script>bad()</script>" in Page(text).words
    assert "one $x$ worker" in Page(text).words  # a name, not a formula


def test_the_outlier_is_named_linked_and_pictured_first(interrupted):
    page = Page(render(interrupted.out, interrupted.out))
    _, outliers = summarise(history_of(interrupted.out).results)
    assert [outlier.product.name for outlier in outliers] == ["P 12"]
    assert len(outliers[0].bands) == 8
    assert "P%2012" in page.links
    assert len(page.images) == 12
    pictured = [link for link in page.links if link.endswith(".png")]
    assert pictured[0] == "P%2012/P%2012.quicklook.png"
    assert len(set(pictured)) == 12


def test_pictures_are_small_and_a_lost_one_is_left_out(interrupted):
    (interrupted.out / "P 12" / "P 12.quicklook.png").write_bytes(b"no picture")
    page = Page(render(interrupted.out, interrupted.out))
    assert len(page.images) == 11
    for address in page.images:
        data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        assert max(Image.open(io.BytesIO(data)).size) == 480


def test_links_lead_from_where_the_page_is(interrupted):
    elsewhere = interrupted.out / "pages" / "deep"
    elsewhere.mkdir(parents=True)
    page = elsewhere / "a.html"
    result = CliRunner().invoke(report, [str(interrupted.out), "--output", str(page)])
    assert result.exit_code == 0, result.output
    links = Page(page.read_text()).links
    assert "../../P%2012" in links
    assert "../../failures.jsonl" in links


def test_the_times_of_stages_add_up(tmp_path):
    journal = Written(tmp_path)
    journal.run(2)
    journal.worker("0")
    journal.done("A", stages={"open": 1.0, "compute": 5.0}, start=journal.now, after=10)
    journal.done("B", stages={"open": 1.0, "new": 2.0, "compute": 7.0}, after=10)
    history = history_of(tmp_path)
    assert history.stages == ["open", "new", "compute", OTHER]
    assert history.completed[0].stages[OTHER] == pytest.approx(4)
    assert "new" in Page(render(tmp_path, tmp_path)).words


def test_the_timeline_shows_every_second_of_every_stage(interrupted):
    history = history_of(interrupted.out)
    axis = figures.TimeAxis.of(history)
    rows = {(0, "0"): 0, (1, "tcp://two"): 1}
    stages = [*history.stages, figures.FAILED]
    seconds = figures._seconds(history, axis, rows, stages)
    width = axis.offsets[-1] / figures.BINS
    shown = seconds.sum(axis=(0, 2)) * width
    assert shown[: len(STAGES)] == pytest.approx([18 * v for v in STAGES.values()], rel=1e-6)
    # The first worker was there in the first run only; a day of pause takes no room.
    assert axis.offsets[-1] == pytest.approx(2 * 9 * 20 + 3)
    assert seconds[0, :, figures.BINS // 2 + 1 :].sum() == 0
    present = figures._present(history, axis, rows)
    assert present[0, : figures.BINS // 2 - 5].min() == pytest.approx(1)
    assert present[1, : figures.BINS // 2 - 5].max() == 0


def test_a_worker_that_was_started_again_has_one_row(tmp_path):
    """A cluster starts another process in the place of a killed one, under the same name."""
    journal = Written(tmp_path)
    journal.run(2)
    journal.worker("tcp://1", name=0)
    journal.done("A", worker="tcp://1")
    journal.worker("tcp://1", name=0, joined=False)
    journal.worker("tcp://2", name=0)
    journal.done("B", worker="tcp://2")
    assert list(history_of(tmp_path).names().values()) == ["0", "0"]
    drawn, _, _ = figures.timeline(history_of(tmp_path))
    assert len(re.findall(r'id="timeline-ytick_\d+"', drawn)) == 1


def test_spans_cover_what_they_cover():
    found = figures._covered(
        np.array([0, 0, 1]), np.array([0.25, 2.0, 0.0]), np.array([0.75, 4.5, 600.0]), 2
    )
    assert found[0, :6] == pytest.approx([0.5, 0, 1, 1, 0.5, 0])
    assert found[1] == pytest.approx(np.ones(figures.BINS))


def test_the_height_of_a_colour_is_its_share():
    red, blue = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
    seconds = np.zeros((1, 2, figures.BINS))
    seconds[0, :, 0] = 0.5, 0.5
    seconds[0, :, 1] = 0.0, 0.5
    present = np.ones((1, figures.BINS))
    present[0, 2] = 0
    shown = figures._stacked(seconds, present, [red, blue])[:, :4]
    half = (figures.ROW - 2) // 2
    assert (shown[1 : 1 + half, 0] == (0, 0, 255, 255)).all()
    assert (shown[1 + half : -1, 0] == (255, 0, 0, 255)).all()
    assert (shown[1 + half : -1, 1] == (0, 0, 255, 255)).all()
    assert (shown[1 : 1 + half, 1, 3] == 46).all()  # idle: faint
    assert (shown[:, 2, 3] == 0).all()  # not there: nothing


def test_many_products_make_a_small_page(tmp_path):
    """What grows with products is limited or binned; names of the rest are not there."""
    busy(tmp_path, 3_000, workers=60)
    text = render(tmp_path, tmp_path)
    assert len(text) < 400_000
    words = Page(text).words
    assert "20 more workers, which did less, are not shown" in words
    assert "2,800 more are not shown" in words
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)


def test_few_products_have_no_outliers(tmp_path):
    chance = random.Random(2)
    journal = Written(tmp_path)
    journal.run(7)
    for number in range(7):
        journal.done(str(number), consistency=residuals(chance, 50 if number == 3 else 1))
    bands, outliers = summarise(history_of(tmp_path).results)
    assert outliers == []
    assert [band.limit for band in bands] == [None] * 8


def test_equal_products_are_no_outliers_of_each_other(tmp_path):
    journal = Written(tmp_path)
    journal.run(30)
    for number in range(30):
        value = {"rmse_dn": 10.001 if number == 3 else 10.0, "relative": None, "pixels": 1}
        unknown = {"rmse_dn": None, "relative": None, "pixels": 0}
        journal.done(str(number), consistency={"B05": value, "B06": unknown})
    bands, outliers = summarise(history_of(tmp_path).results)
    assert outliers == []
    assert [(band.band, band.limit) for band in bands] == [("B05", pytest.approx(10.5))]


def test_a_product_that_was_done_again_counts_as_it_is_now(tmp_path):
    journal = Written(tmp_path)
    journal.run(1)
    journal.done("A", bytes_out=1)
    journal.ended()
    journal.run(1)
    journal.done("A", bytes_out=2)
    journal.done("A", bytes_out=0, already=True)
    assert [one.bytes_out for one in history_of(tmp_path).results] == [2]
    assert len(history_of(tmp_path).completed) == 2


@pytest.mark.parametrize("what", ["run", "worker", "failed"])
def test_a_run_in_which_nothing_is_done_yet_has_a_page(tmp_path, what):
    journal = Written(tmp_path)
    journal.run(3, settings={}, dashboard=None)
    if what != "run":
        journal.worker("0")
    if what == "failed":
        journal.failed("A", worker=None, host=None, start=None, end=None)
    words = Page(render(tmp_path, tmp_path)).words
    assert "No product has been computed." in words
    assert ("A is broken" in words) == (what == "failed")


def test_what_cannot_be_written_is_one_line(interrupted, tmp_path):
    with pytest.raises(OutputError, match="does not exist; make it first"):
        write_report(interrupted.out, tmp_path / "nowhere" / "report.html")
    with pytest.raises(FleetError, match="no fleet has been at work there"):
        write_report(tmp_path / "P 1")
    assert not (tmp_path / "P 1" / "report.html").exists()


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("sharpen", "There are none; --quicklook makes one for each product."),
        ("predict", "There are none; only sharpen makes them."),
        ("extract", "There are none; only sharpen makes them."),
    ],
)
def test_pictures_are_promised_only_where_an_option_makes_them(verb, said, tmp_path):
    journal = Written(tmp_path)
    journal.run(1, verb=verb)
    journal.worker("0")
    journal.done("A")
    words = Page(render(tmp_path, tmp_path)).words
    assert said in words
    assert ("--quicklook" in words) == (verb == "sharpen")
