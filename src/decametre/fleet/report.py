"""The report of a fleet: an HTML page with figures from the journal and pictures of the results."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from decametre.fleet import figures
from decametre.fleet.formatting import amount, digits, duration, timestamp
from decametre.fleet.history import History, read_history
from decametre.fleet.progress import STATES
from decametre.fleet.records import CompletedProduct
from decametre.fleet.residuals import RULE, Outlier, summarise
from decametre.io.staging import Staging

REPORT_NAME = "report.html"

MAX_PICTURES = 12

PICTURE_EDGE = 480
"""Largest width and height of a picture in pixels."""

MAX_OUTLIERS = 50

MAX_FAILURES = 200

MAX_PRODUCTS = 200

MAX_RUNS = 20

TemplateRow = dict[str, Any]
"""Values of a table row or picture, by their names in the template."""


def write_report(out: Path, output: Path | None = None) -> Path:
    """Write the report of an output folder; an earlier report is replaced.

    Args:
        out: The output folder of a fleet.
        output: Path of the page; `report.html` in `out` by default.

    Returns:
        Path of the page.

    Raises:
        FleetError: No fleet has run there.
        OutputError: The page cannot be written.
    """
    page = output or out / REPORT_NAME
    text = render(out, page.parent)
    with Staging(page, overwrite=True, needed=2 * len(text)) as staging:
        staging.path(page.name).write_text(text, encoding="utf-8")
        staging.commit(page.name)
    return page


def render(out: Path, folder: Path) -> str:
    """The report as HTML.

    Args:
        out: The output folder of a fleet.
        folder: Folder of the page; links are relative to it.
    """
    history = read_history(out, keep_products=True)
    progress, results = history.latest, history.results
    bands, outliers = summarise(results)
    timeline, colours, workers_omitted = figures.timeline(history)
    latest = list(reversed(results))[:MAX_PRODUCTS]
    runs = _run_rows(history)
    environment = Environment(
        loader=PackageLoader("decametre.fleet"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": amount,
        "digits": digits,
        "duration": duration,
        "timestamp": timestamp,
        "link": lambda path: _relative_url(out / path, folder),
    }
    return environment.get_template(REPORT_NAME).render(
        progress=progress,
        state=STATES[progress.state],
        settings=_setting_rows(progress.run["settings"]),
        runs=runs[-MAX_RUNS:],
        runs_omitted=len(runs[:-MAX_RUNS]),
        workers=history.workers,
        results=results,
        totals=_totals(history),
        timeline=timeline,
        colours=colours,
        workers_omitted=workers_omitted,
        throughput=figures.throughput(history) if history.completed else "",
        stages=_stage_rows(history, colours),
        failures=progress.failures[:MAX_FAILURES],
        failures_omitted=len(progress.failures[MAX_FAILURES:]),
        bands=bands,
        rule=RULE,
        residuals=figures.residuals(bands, outliers) if bands else "",
        outliers=outliers[:MAX_OUTLIERS],
        outliers_omitted=len(outliers[MAX_OUTLIERS:]),
        pictures=_pictures(out, results, outliers),
        latest=latest,
        latest_omitted=len(results) - len(latest),
    )


def _relative_url(path: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix())


def _setting_rows(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in settings.items()
    ]


def _run_rows(history: History) -> list[TemplateRow]:
    return [
        {
            "start": run.run["time"],
            "seconds": run.last - run.run["time"],
            "state": run.state,
            "before": run.done_before,
            "computed": run.computed,
            "version": run.run["version"],
            "command": run.run["command"],
        }
        for run in history.runs
    ]


def _totals(history: History) -> TemplateRow:
    """Sums over all runs."""
    return {
        "products": len(history.completed),
        "pixels": sum(product.pixels for product in history.completed),
        "bytes_in": sum(run.bytes_in for run in history.runs),
        "bytes_out": sum(run.bytes_out for run in history.runs),
        "seconds": sum(run.last - run.run["time"] for run in history.runs),
    }


def _stage_rows(history: History, colours: dict[str, str]) -> list[TemplateRow]:
    """The time of each stage: total, share, and statistics over the products that have it."""
    seconds = {
        name: np.array([one.stages[name] for one in history.completed if name in one.stages])
        for name in history.stages
    }
    total = sum(float(values.sum()) for values in seconds.values()) or 1.0
    return [
        {
            "name": name,
            "colour": colours[name],
            "seconds": float(values.sum()),
            "share": float(values.sum()) / total,
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "percentile_95": float(np.percentile(values, 95)),
        }
        for name, values in seconds.items()
    ]


def _pictures(
    out: Path, results: Sequence[CompletedProduct], outliers: Sequence[Outlier]
) -> list[TemplateRow]:
    """Pictures of the worst outliers, then of other products at even intervals."""
    bands = {outlier.product.name: outlier.bands for outlier in outliers}
    worst = [outlier.product for outlier in outliers if outlier.product.quicklook]
    others = [one for one in results if one.quicklook and one.name not in bands]
    # A third of the pictures shows usual products for comparison, even with many outliers.
    first = worst[: max(MAX_PICTURES * 2 // 3, MAX_PICTURES - len(others))]
    free = MAX_PICTURES - len(first)
    if len(others) > free:
        others = [others[number * len(others) // free] for number in range(free)]
    pictures = []
    for product in [*first, *others]:
        assert product.quicklook is not None
        url = _embedded(out / product.quicklook)
        if url is not None:
            outlier_bands = bands.get(product.name, ())
            pictures.append({"product": product, "url": url, "outlier_bands": outlier_bands})
    return pictures


def _embedded(path: Path) -> str | None:
    """A reduced picture as a `data:` URL; None if it is missing or unreadable."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((PICTURE_EDGE, PICTURE_EDGE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
