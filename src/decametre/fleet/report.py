"""The report of a fleet: one HTML page, made from the journal and the pictures beside results."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from decametre.fleet import figures
from decametre.fleet.formatting import amount, clock, digits, duration
from decametre.fleet.history import CompletedProduct, History
from decametre.fleet.progress import STATES, status_of
from decametre.fleet.residuals import RULE, Outlier, summarise
from decametre.io.staging import Staging

REPORT_NAME = "report.html"

MAX_PICTURES = 12

PICTURE_EDGE = 480
"""Pixels of a picture's longer side, at most."""

MAX_OUTLIERS = 50

MAX_FAILURES = 200

MAX_PRODUCTS = 200

MAX_RUNS = 20


@dataclass(frozen=True)
class StageRow:
    """The time that all products spent in a stage.

    Attributes:
        name: The stage.
        colour: In the timeline.
        seconds: Of all products.
        part: Of the time in all stages.
        mean: Seconds a product, of those that have the stage.
        median: Likewise.
        late: The 95th percentile.
    """

    name: str
    colour: str
    seconds: float
    part: float
    mean: float
    median: float
    late: float


@dataclass(frozen=True)
class Picture:
    """A small before/after picture.

    Attributes:
        done: The product.
        address: `data:` URI.
        outlier: The bands in which it is an outlier.
    """

    product: CompletedProduct
    address: str
    outlier: tuple[str, ...]


def write_report(out: Path, output: Path | None = None) -> Path:
    """Make the report of a folder of results, in place of one that is there.

    Args:
        out: The folder.
        output: The page; `report.html` in the folder if None.

    Returns:
        The page.

    Raises:
        FleetError: No fleet has been at work there.
        OutputError: The page cannot be written.
    """
    page = output or out / REPORT_NAME
    text = render(out, page.parent)
    with Staging(page, overwrite=True, needed=2 * len(text)) as staging:
        staging.path(page.name).write_text(text, encoding="utf-8")
        staging.commit(page.name)
    return page


def render(out: Path, beside: Path) -> str:
    """The page's text.

    Args:
        out: The folder of results.
        beside: The folder in which the page will stand; its links are relative to it.
    """
    history = History()
    status = status_of(out, history.add)
    history.close()
    results = history.results
    bands, outliers = summarise(results)
    drawn, colours, workers_omitted = figures.timeline(history)
    latest = list(reversed(results))[:MAX_PRODUCTS]
    environment = Environment(
        loader=PackageLoader("decametre.fleet"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": amount,
        "clock": clock,
        "digits": digits,
        "duration": duration,
        "link": lambda path: _link(out / path, beside),
    }
    runs = _runs(history)
    return environment.get_template(REPORT_NAME).render(
        status=status,
        progress=status.progress,
        rates=status.progress.rates(status.now),
        state=STATES[status.state],
        settings=_settings(status.progress.run["settings"]),
        runs=runs[-MAX_RUNS:],
        runs_omitted=len(runs[:-MAX_RUNS]),
        names=history.names(),
        results=results,
        totals=_totals(history),
        timeline=drawn,
        colours=colours,
        workers_omitted=workers_omitted,
        throughput=figures.throughput(history) if history.completed else "",
        stages=_stages(history, colours),
        failures=history.failures[:MAX_FAILURES],
        failures_omitted=len(history.failures[MAX_FAILURES:]),
        bands=bands,
        rule=RULE,
        residuals=figures.residuals(bands, outliers) if bands else "",
        outliers=outliers[:MAX_OUTLIERS],
        outliers_omitted=len(outliers[MAX_OUTLIERS:]),
        pictures=_pictures(out, results, outliers),
        latest=latest,
        latest_omitted=len(results) - len(latest),
    )


def _link(path: Path, beside: Path) -> str:
    """A relative address."""
    return quote(Path(os.path.relpath(path.absolute(), beside.absolute())).as_posix())


def _settings(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values, as words."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in settings.items()
    ]


def _runs(history: History) -> list[dict[str, Any]]:
    """A row a run."""
    counts = np.bincount([one.run for one in history.completed], minlength=len(history.runs))
    return [
        {
            "start": run.start,
            "seconds": run.end - run.start,
            "status": run.status or "no end is told of",
            "before": run.event["done_before"],
            "done": int(count),
            "version": run.event["version"],
            "command": run.event["command"],
        }
        for run, count in zip(history.runs, counts, strict=True)
    ]


def _totals(history: History) -> dict[str, float]:
    """Over all runs."""
    return {
        "products": len(history.completed),
        "pixels": sum(one.pixels for one in history.completed),
        "bytes_in": sum(one.bytes_in for one in history.completed),
        "bytes_out": sum(one.bytes_out for one in history.completed),
        "seconds": sum(run.end - run.start for run in history.runs),
    }


def _stages(history: History, colours: dict[str, str]) -> list[StageRow]:
    """A row a stage."""
    rows = []
    for name in history.stages:
        values = np.array([one.stages[name] for one in history.completed if name in one.stages])
        rows.append((name, values))
    whole = sum(float(values.sum()) for _, values in rows) or 1.0
    return [
        StageRow(
            name,
            colours[name],
            float(values.sum()),
            float(values.sum()) / whole,
            float(values.mean()),
            float(np.median(values)),
            float(np.percentile(values, 95)),
        )
        for name, values in rows
    ]


def _pictures(
    out: Path, results: Sequence[CompletedProduct], outliers: Sequence[Outlier]
) -> list[Picture]:
    """Of the worst outliers, then of some others, evenly drawn from the order of their ends."""
    unusual = {outlier.product.name: outlier.bands for outlier in outliers}
    worst = [outlier.product for outlier in outliers if outlier.product.quicklook]
    others = [one for one in results if one.quicklook and one.name not in unusual]
    # With many outliers a third of the places is still for what is usual, to compare with.
    first = worst[: max(MAX_PICTURES * 2 // 3, MAX_PICTURES - len(others))]
    places = MAX_PICTURES - len(first)
    if len(others) > places:
        others = [others[number * len(others) // places] for number in range(places)]
    pictures = []
    for one in [*first, *others]:
        assert one.quicklook is not None
        address = _embedded(out / one.quicklook)
        if address is not None:
            pictures.append(Picture(one, address, unusual.get(one.name, ())))
    return pictures


def _embedded(path: Path) -> str | None:
    """A picture as a `data:` URI, made small; None where it is gone or cannot be read."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((PICTURE_EDGE, PICTURE_EDGE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
