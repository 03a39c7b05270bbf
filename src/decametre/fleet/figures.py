"""Pictures of a fleet's history, as SVG that stands in a page and takes on its colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from decametre.fleet.history import OTHER, WAIT, Attempt, History
from decametre.fleet.residuals import BandResiduals, Outlier

BINS = 600
"""Columns of the timeline, however long the runs."""

MIN_STEPS, MAX_STEPS = 12, 150
"""Steps of the throughput; between these, one for each five products."""

MAX_WORKERS = 40
"""Rows of the timeline at most: of the workers that did most."""

ROW = 16
"""Picture pixels of a worker's row, with the two that part it from the next."""

MAX_DOTS = 20
"""Outliers of a band that are drawn."""

FAILED = "failed"

COLOURS = {
    "open": "#999933",
    "stage_in": "#66ccee",
    WAIT: "#c9c9c9",
    "read": "#ddcc77",
    "compute": "#4477aa",
    "write": "#99ddbb",
    "encode": "#228833",
    OTHER: "#8f8f8f",
    FAILED: "#ee6677",
}
"""Of the stages that are known; after Paul Tol's schemes for the colour-blind."""

MORE_COLOURS = ("#aa3377", "#ee8866", "#332288", "#77aadd", "#ffaabb")

INK = "#0a0b0c"
"""Stands for the page's own text colour."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def colours_of(stages: Sequence[str]) -> dict[str, str]:
    """A colour for each stage; the known ones have their own."""
    unknown = [stage for stage in stages if stage not in COLOURS]
    return {
        stage: COLOURS.get(stage) or MORE_COLOURS[unknown.index(stage) % len(MORE_COLOURS)]
        for stage in stages
    }


@dataclass(frozen=True)
class TimeAxis:
    """The time in which the fleet was at work: runs one after another, no pauses between.

    Attributes:
        starts: Of the runs, in seconds since 1970.
        ends: Of the runs.
        offsets: Of the runs on this axis; one more, for the end.
        unit: Seconds of what the axis counts.
        label: What that is.
    """

    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray
    unit: float
    label: str

    @classmethod
    def of(cls, history: History) -> TimeAxis:
        """The axis of all runs."""
        starts = np.array([run.start for run in history.runs])
        ends = np.array([run.end for run in history.runs])
        offsets = np.concatenate([[0.0], np.cumsum(ends - starts)])
        offsets[-1] = max(offsets[-1], 1.0)
        units = ((86400.0, 3 * 86400.0, "days"), (3600.0, 10800.0, "hours"), (60.0, 300.0, "min"))
        unit, _, label = next((u for u in units if offsets[-1] > u[1]), (1.0, 0.0, "s"))
        return cls(starts, ends, offsets, unit, label)

    def place(self, runs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Seconds on this axis; a clock that is wrong stays within its run."""
        return (
            self.offsets[runs]
            + np.clip(times, self.starts[runs], self.ends[runs])
            - self.starts[runs]
        )

    def draw(self, axes: Axes) -> None:
        """Limits, label, and a line between runs."""
        axes.set_xlim(0, self.offsets[-1] / self.unit)
        for border in self.offsets[1:-1]:
            axes.axvline(border / self.unit, color=INK, linewidth=0.6, linestyle=":")
        pauses = "; dotted: between runs, whose pauses are left out" if len(self.starts) > 1 else ""
        axes.set_xlabel(f"{self.label} at work{pauses}")


def timeline(history: History) -> tuple[str, dict[str, str], int]:
    """What each worker did when.

    Returns:
        The picture; the colour of each stage in it; and how many workers were left out.
    """
    names = history.names()
    tallied = dict.fromkeys(names.values(), 0)
    for one in history.completed:
        if (one.run, one.worker) in names:
            tallied[names[one.run, one.worker]] += 1
    busiest = set(sorted(tallied, key=lambda name: -tallied[name])[:MAX_WORKERS])
    workers = [name for name in tallied if name in busiest]
    rows = {who: workers.index(name) for who, name in names.items() if name in busiest}
    stages = history.stages + ([FAILED] if history.failed_attempts else [])
    colours = colours_of(stages)
    if not workers:
        return "", colours, 0
    axis = TimeAxis.of(history)
    seconds = _seconds(history, axis, rows, stages)
    present = _present(history, axis, rows)
    picture = _stacked(seconds, present, [to_rgba(colours[stage]) for stage in stages])
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "timeline"}):
        figure = Figure(figsize=(10, 0.7 + 0.24 * len(workers)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        axes.imshow(
            picture,
            extent=(0, axis.offsets[-1] / axis.unit, len(workers), 0),
            aspect="auto",
            interpolation="none",
        )
        axes.set_yticks(np.arange(len(workers)) + 0.5, workers, parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axis.draw(axes)
        return (
            _svg(figure, "timeline", "What each worker did when"),
            colours,
            len(tallied) - len(workers),
        )


Rows = Mapping[tuple[int, str], int]
"""Rows of the timeline, by run and address of a worker."""


def _seconds(history: History, axis: TimeAxis, rows: Rows, stages: Sequence[str]) -> np.ndarray:
    """Products in each stage at a time, averaged over each column.

    Stages of a product are taken to follow one another without gaps.

    Returns:
        (rows, stages, BINS).
    """
    columns = {name: number for number, name in enumerate(stages)}
    runs, cells, begins, ends = [], [], [], []

    def add(attempt: Attempt, stage: str, begin: float, end: float) -> None:
        row = rows.get((attempt.run, attempt.worker))
        if row is not None:
            runs.append(attempt.run)
            cells.append(row * len(stages) + columns[stage])
            begins.append(begin)
            ends.append(end)

    for one in history.completed:
        begin = one.start
        for stage, lasted in one.stages.items():
            add(one, stage, begin, begin + lasted)
            begin += lasted
    for attempt in history.failed_attempts:
        add(attempt, FAILED, attempt.start, attempt.end)
    width = axis.offsets[-1] / BINS
    which = np.array(runs, dtype=int)
    place = [axis.place(which, np.array(times)) / width for times in (begins, ends)]
    count = 1 + max(rows.values())
    found = _covered(np.array(cells, dtype=int), place[0], place[1], count * len(stages))
    return found.reshape(count, len(stages), BINS)


def _present(history: History, axis: TimeAxis, rows: Rows) -> np.ndarray:
    """Which part of each column each worker was there, (rows, BINS)."""
    stays = [stay for stay in history.worker_intervals if (stay.run, stay.worker) in rows]
    which = np.array([stay.run for stay in stays], dtype=int)
    width = axis.offsets[-1] / BINS
    return _covered(
        np.array([rows[stay.run, stay.worker] for stay in stays], dtype=int),
        axis.place(which, np.array([stay.start for stay in stays])) / width,
        axis.place(which, np.array([stay.end for stay in stays])) / width,
        1 + max(rows.values()),
    )


def _covered(cells: np.ndarray, begins: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """How much of each column spans cover, summed by cell.

    A span's covered length up to a column is a ramp from its begin to its end. Ramps are summed
    as second differences, so that a span costs four additions however long it is.

    Args:
        cells: Of each span.
        begins: In columns.
        ends: In columns.
        count: Number of cells.

    Returns:
        (count, BINS).
    """
    bends = np.zeros((count, BINS + 3))
    for places, sign in ((begins, 1.0), (ends, -1.0)):
        whole = np.floor(places).astype(int).clip(0, BINS)
        part = places - whole
        np.add.at(bends, (cells, whole + 1), sign * (1 - part))
        np.add.at(bends, (cells, whole + 2), sign * part)
    covered = np.diff(bends.cumsum(axis=1).cumsum(axis=1)[:, : BINS + 1], axis=1)
    return covered.clip(0, None)


def _stacked(
    seconds: np.ndarray, present: np.ndarray, colours: Sequence[tuple[float, float, float, float]]
) -> np.ndarray:
    """A picture: a row a worker, from its bottom up the stages' shares of each column.

    The full height is the most products that a worker had at once. A worker that is there but
    has less to do shows a faint grey; one that is not there, nothing.

    Returns:
        uint8 RGBA, (workers * ROW, BINS, 4).
    """
    workers, stages, _ = seconds.shape
    high = ROW - 2
    full = max(1, math.ceil(seconds.sum(axis=1).max(initial=0) - 0.05))
    tops = seconds.cumsum(axis=1) / full * high  # of each stage, in picture pixels
    palette = np.array([*colours, (0.5, 0.5, 0.5, 0.18), (0, 0, 0, 0)])
    heights = np.arange(high, dtype=float)[::-1, None, None] + 0.5
    stage = (tops.transpose(1, 0, 2)[:, None] <= heights[None]).sum(axis=0)
    stage[(stage == stages) & (present[None] < 0.5)] = stages + 1
    shown = np.full((workers, ROW, BINS), stages + 1)
    shown[:, 1:-1] = stage.transpose(1, 0, 2)
    return (palette[shown.reshape(-1, BINS)] * 255).round().astype(np.uint8)


def throughput(history: History) -> str:
    """Products an hour, and workers, over time."""
    axis = TimeAxis.of(history)
    steps = min(max(len(history.completed) // 5, MIN_STEPS), MAX_STEPS)
    edges = np.linspace(0, axis.offsets[-1], steps + 1)
    runs = np.array([one.run for one in history.completed], dtype=int)
    ends = axis.place(runs, np.array([one.end for one in history.completed]))
    rate = np.histogram(ends, edges)[0] / (edges[1] - edges[0]) * 3600
    which = np.array([stay.run for stay in history.worker_intervals], dtype=int)
    joined, left = (
        np.sort(axis.place(which, np.array(times)))
        for times in (
            [s.start for s in history.worker_intervals],
            [s.end for s in history.worker_intervals],
        )
    )
    middles = (edges[1:] + edges[:-1]) / 2
    workers = np.searchsorted(joined, middles) - np.searchsorted(left, middles)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "throughput"}):
        figure = Figure(figsize=(10, 3))
        figure.set_layout_engine("constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for axes, values, label, colour in (
            (upper, rate, "products/h", COLOURS["compute"]),
            (lower, workers, "workers", COLOURS[OTHER]),
        ):
            axes.stairs(values, edges / axis.unit, fill=True, color=colour)
            axes.set_ylim(0, max(1, values.max()) * 1.05)
            axes.set_ylabel(label)
        axis.draw(lower)
        upper.axhline(
            len(history.completed) / axis.offsets[-1] * 3600,
            color=INK,
            linewidth=0.8,
            linestyle="--",
        )
        return _svg(figure, "throughput", "Products an hour, and workers, over time")


def residuals(bands: Sequence[BandResiduals], outliers: Sequence[Outlier]) -> str:
    """The distribution of the residuals of each band, limits, and the worst outliers."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "residuals"}):
        figure = Figure(figsize=(10, 0.7 + 0.32 * len(bands)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        for row, band in enumerate(bands):
            low, first, median, third, high = band.percentiles
            axes.plot([low, high], [row, row], color=INK, linewidth=0.8)
            axes.barh(row, third - first, left=first, height=0.5, color="#9db8d3")
            axes.plot([median] * 2, [row - 0.25, row + 0.25], color=INK, linewidth=1.5)
            if band.limit is not None:
                axes.plot([band.limit] * 2, [row - 0.35, row + 0.35], color=COLOURS[FAILED])
            worst = [o.product.residuals[band.band] for o in outliers if band.band in o.bands]
            worst = sorted(worst, reverse=True)[:MAX_DOTS]
            axes.plot(worst, [row] * len(worst), ".", color=COLOURS[FAILED])
        if min(band.percentiles[0] for band in bands) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.set_yticks(range(len(bands)), [band.band for band in bands])
        axes.set_ylim(len(bands) - 0.4, -0.6)
        axes.use_sticky_edges = False
        axes.margins(x=0.04)
        axes.set_xlabel("residual in DN (RMSE)")
        return _svg(figure, "residuals", "Consistency residuals of each band over all products")


def _svg(figure: Figure, name: str, title: str) -> str:
    """As an element of a page, in which no other may have the same ids."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
