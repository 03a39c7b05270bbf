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
from decametre.fleet.history import History, read_history
from decametre.fleet.report import render, write_report
from decametre.fleet.residuals import summarise
from tests.fleet.journals import STAGES, JournalWriter, long_run, residuals


def history_of(out) -> History:
    return read_history(out, keep_products=True)


class Page(HTMLParser):
    """A parsed page: its open elements, links, images and text."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.text = ""
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
        self.text += data


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A picture larger than those of a report."""
    path = tmp_path_factory.mktemp("pictures") / "large.png"
    pixels = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    return path


def add_quicklook(out, name, picture) -> str:
    """Copy a picture into the folder of a result."""
    (out / name).mkdir()
    shutil.copy(picture, out / name / f"{name}.quicklook.png")
    return f"{name}/{name}.quicklook.png"


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory, large):
    """An interrupted run of nine products, then a run with nine products and two failures.

    One of the products is an outlier.
    """
    tmp_path = tmp_path_factory.mktemp("two_runs")
    chance = random.Random(1)
    journal = JournalWriter(tmp_path)
    journal.run(20)
    journal.worker("0")
    for number in range(9):
        name = f"P {number}"
        journal.done(
            name, consistency=residuals(chance), quicklook=add_quicklook(tmp_path, name, large)
        )
    journal.ended("interrupted")
    journal.run(20, before=9, after=86400)
    journal.worker("tcp://two", name="one $x$ worker")
    for number in range(9, 18):
        journal.done(
            f"P {number}",
            worker="tcp://two",
            consistency=residuals(chance, 30 if number == 12 else 1),
            quicklook=add_quicklook(tmp_path, f"P {number}", large),
        )
    worker = {"worker": "tcp://two"}
    journal.failed(
        "<script>bad()</script>", reason='"<b>" & such', attempt=3, stage="<i>", **worker
    )
    journal.failed("Q", final=False, **worker)
    journal.failed("Q", stage="compute", attempt=2, **worker)
    journal.ended("failures")
    return journal


@pytest.fixture(scope="module")
def html(two_runs):
    return render(two_runs.out, two_runs.out)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_report_is_one_valid_file_without_external_resources(two_runs, tmp_path):
    written = write_report(two_runs.out, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    page = Page(written.read_text())
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert page.loaded
    assert all(value.startswith(("data:image/", "#")) for value in page.loaded)


def test_counts_are_those_of_all_runs_and_failures_of_the_latest(page):
    text = page.text
    assert "sharpen: 18 of 20 products completed" in text
    assert "ended; some products failed" in text
    assert "2 runs" in text
    assert "1 failed attempts were or will be retried." in text
    assert "18.0 MB" in text  # read in both runs


def test_values_of_the_journal_are_escaped(html, page):
    assert "<script" not in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert '"<b>" & such' in page.text
    assert "<script>bad()</script>" in page.text
    assert "one $x$ worker" in page.text  # a name, not a formula


def test_outlier_is_listed_and_its_picture_comes_first(two_runs, page):
    _, outliers = summarise(history_of(two_runs.out).results)
    assert [outlier.product.name for outlier in outliers] == ["P 12"]
    assert len(outliers[0].bands) == 8
    assert "P%2012" in page.links
    assert len(page.images) == 12
    pictured = [link for link in page.links if link.endswith(".png")]
    assert pictured[0] == "P%2012/P%2012.quicklook.png"
    assert len(set(pictured)) == 12


def test_unreadable_pictures_are_skipped(tmp_path, large):
    journal = JournalWriter(tmp_path)
    journal.run(2)
    journal.done("A", quicklook=add_quicklook(tmp_path, "A", large))
    journal.done("B", quicklook=add_quicklook(tmp_path, "B", large))
    (tmp_path / "B" / "B.quicklook.png").write_bytes(b"no picture")
    assert len(Page(render(tmp_path, tmp_path)).images) == 1


def test_pictures_are_reduced(page):
    for address in page.images:
        data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        assert max(Image.open(io.BytesIO(data)).size) == 480


def test_links_are_relative_to_the_folder_of_the_page(tmp_path):
    journal = JournalWriter(tmp_path / "out")
    journal.run(2)
    journal.done("P 1")
    journal.failed("Q")
    page = tmp_path / "pages" / "a.html"
    page.parent.mkdir()
    result = CliRunner().invoke(report, [str(journal.out), "--output", str(page)])
    assert result.exit_code == 0, result.output
    links = Page(page.read_text()).links
    assert "../out/P%201" in links
    assert "../out/failures.jsonl" in links


def test_timeline_contains_the_total_time_of_each_stage(two_runs):
    history = history_of(two_runs.out)
    axis = figures.TimeAxis.of(history)
    rows = {(0, "0"): 0, (1, "tcp://two"): 1}
    stages = [*history.stages, figures.FAILED]
    counts = figures._stage_counts(history, axis, rows, stages)
    width = axis.offsets[-1] / figures.COLUMNS
    shown = counts.sum(axis=(0, 2)) * width
    assert shown[: len(STAGES)] == pytest.approx([18 * v for v in STAGES.values()], rel=1e-6)
    # The first worker belonged to the first run only; the day between the runs is omitted.
    assert axis.offsets[-1] == pytest.approx(2 * 9 * 20 + 3)
    assert counts[0, :, figures.COLUMNS // 2 + 1 :].sum() == 0
    presence = figures._presence(history, axis, rows)
    assert presence[0, : figures.COLUMNS // 2 - 5].min() == pytest.approx(1)
    assert presence[1, : figures.COLUMNS // 2 - 5].max() == 0


def test_replaced_worker_shares_the_row_of_its_name(tmp_path):
    """A cluster gives the process that replaces a killed worker the same name."""
    journal = JournalWriter(tmp_path)
    journal.run(2)
    journal.worker("tcp://1", name=0)
    journal.done("A", worker="tcp://1")
    journal.worker("tcp://1", name=0, joined=False)
    journal.worker("tcp://2", name=0)
    journal.done("B", worker="tcp://2")
    assert [worker.name for worker in history_of(tmp_path).workers.values()] == ["0", "0"]
    drawn, _, _ = figures.timeline(history_of(tmp_path))
    assert len(re.findall(r'id="timeline-ytick_\d+"', drawn)) == 1


def test_coverage_of_intervals():
    found = figures._coverage(
        [0, 0, 1], np.array([0.25, 2.0, 0.0]), np.array([0.75, 4.5, 600.0]), 2
    )
    assert found[0, :6] == pytest.approx([0.5, 0, 1, 1, 0.5, 0])
    assert found[1] == pytest.approx(np.ones(figures.COLUMNS))


def test_stages_are_stacked_by_their_counts():
    red, blue = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
    counts = np.zeros((1, 2, figures.COLUMNS))
    counts[0, :, 0] = 0.5, 0.5
    counts[0, :, 1] = 0.0, 0.5
    presence = np.ones((1, figures.COLUMNS))
    presence[0, 2] = 0
    shown = figures._stack_stages(counts, presence, [red, blue])[:, :4]
    half = (figures.ROW_HEIGHT - 2) // 2
    assert (shown[1 : 1 + half, 0] == (0, 0, 255, 255)).all()
    assert (shown[1 + half : -1, 0] == (255, 0, 0, 255)).all()
    assert (shown[1 + half : -1, 1] == (0, 0, 255, 255)).all()
    assert (shown[1 : 1 + half, 1, 3] == 46).all()  # idle: faint grey
    assert (shown[:, 2, 3] == 0).all()  # absent: transparent


def test_report_of_many_products_is_small(tmp_path):
    long_run(tmp_path, 1_000, workers=50)
    text = render(tmp_path, tmp_path)
    assert len(text) < 400_000
    text = Page(text).text
    assert "10 workers with fewer products are not shown" in text
    assert "800 more are not shown" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)


def test_few_products_have_no_outliers(tmp_path):
    chance = random.Random(2)
    journal = JournalWriter(tmp_path)
    journal.run(7)
    for number in range(7):
        journal.done(str(number), consistency=residuals(chance, 50 if number == 3 else 1))
    bands, outliers = summarise(history_of(tmp_path).results)
    assert outliers == []
    assert [band.limit for band in bands] == [None] * 8


def test_small_differences_are_no_outliers(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(30)
    for number in range(30):
        value = {"rmse_dn": 10.001 if number == 3 else 10.0, "relative": None, "pixels": 1}
        unknown = {"rmse_dn": None, "relative": None, "pixels": 0}
        journal.done(str(number), consistency={"B05": value, "B06": unknown})
    bands, outliers = summarise(history_of(tmp_path).results)
    assert outliers == []
    assert [(band.band, band.limit) for band in bands] == [("B05", pytest.approx(10.5))]


@pytest.mark.parametrize("latest", ["run", "worker", "failed"])
def test_report_of_a_run_without_completed_products(tmp_path, latest):
    journal = JournalWriter(tmp_path)
    journal.run(3, settings={}, dashboard=None)
    if latest != "run":
        journal.worker("0")
    if latest == "failed":
        journal.failed("A", worker=None, host=None, start=None, end=None)
    text = Page(render(tmp_path, tmp_path)).text
    assert "No product has been computed." in text
    assert ("A is broken" in text) == (latest == "failed")


def test_report_errors(tmp_path):
    with pytest.raises(FleetError, match="no fleet has run there"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
    JournalWriter(tmp_path).run()
    with pytest.raises(OutputError, match="does not exist; make it first"):
        write_report(tmp_path, tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize(
    ("verb", "hint"),
    [
        ("sharpen", "There are no pictures; --quicklook creates one for each product."),
        ("predict", "There are no pictures; only sharpen creates them."),
        ("extract", "There are no pictures; only sharpen creates them."),
    ],
)
def test_hint_for_reports_without_pictures(verb, hint, tmp_path):
    journal = JournalWriter(tmp_path)
    journal.run(1, verb=verb)
    journal.worker("0")
    journal.done("A")
    text = Page(render(tmp_path, tmp_path)).text
    assert hint in text
    assert ("--quicklook" in text) == (verb == "sharpen")
