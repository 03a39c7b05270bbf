"""Figures of a fleet's history as SVG elements, which take the text colour of the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from decametre.fleet.history import History
from decametre.fleet.records import OTHER, WAIT, Attempt
from decametre.fleet.residuals import BandResiduals, Outlier

COLUMNS = 600
"""Columns of the timeline, whatever the duration of the runs."""

MIN_STEPS, MAX_STEPS = 12, 150
"""Steps of the throughput curve; between these limits, one step per five products."""

MAX_WORKERS = 40
"""Rows of the timeline: the workers that completed most products."""

ROW_HEIGHT = 16
"""Image rows of a worker, including one empty row above and one below."""

MAX_DOTS = 20
"""Outliers drawn for each band."""

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
"""Colours of the known stages, from Paul Tol's colour schemes for colour-blind readers
(SRON/EPS/TN/09-002)."""

MORE_COLOURS = ("#aa3377", "#ee8866", "#332288", "#77aadd", "#ffaabb")

INK = "#0a0b0c"
"""Placeholder for the page's text colour."""

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

UNITS = ((86400.0, 3 * 86400.0, "days"), (3600.0, 10800.0, "hours"), (60.0, 300.0, "min"))
"""Units of a time axis: length in seconds, duration from which it is used, name."""

Rows = Mapping[tuple[int, str], int]
"""Rows of the timeline, by run and address of a worker."""


def colours_of(stages: Sequence[str]) -> dict[str, str]:
    """A colour for each stage."""
    unknown = [stage for stage in stages if stage not in COLOURS]
    return {
        stage: COLOURS.get(stage) or MORE_COLOURS[unknown.index(stage) % len(MORE_COLOURS)]
        for stage in stages
    }


@dataclass(frozen=True)
class TimeAxis:
    """A time axis on which the runs follow one another without the pauses between them.

    Attributes:
        starts: Start of each run in seconds since 1970.
        ends: End of each run.
        offsets: Start of each run on this axis, and the end of the last run.
        unit: Seconds of the axis' unit.
        label: Name of the unit.
    """

    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray
    unit: float
    label: str

    @classmethod
    def of(cls, history: History) -> TimeAxis:
        """The axis of all runs."""
        starts = np.array([run.run["time"] for run in history.runs])
        ends = np.array([run.last for run in history.runs])
        offsets = np.concatenate([[0.0], np.cumsum(ends - starts)])
        offsets[-1] = max(offsets[-1], 1.0)
        unit, _, label = next((u for u in UNITS if offsets[-1] > u[1]), (1.0, 0.0, "s"))
        return cls(starts, ends, offsets, unit, label)

    def position(self, runs: Sequence[int], times: Sequence[float]) -> np.ndarray:
        """Seconds on this axis. Times outside their run (a wrong clock) are clipped to it."""
        number = np.array(runs, dtype=int)
        starts, ends = self.starts[number], self.ends[number]
        return self.offsets[number] + np.clip(times, starts, ends) - starts

    def draw(self, axes: Axes) -> None:
        """Set limits and label, and draw a line between runs."""
        axes.set_xlim(0, self.offsets[-1] / self.unit)
        for border in self.offsets[1:-1]:
            axes.axvline(border / self.unit, color=INK, linewidth=0.6, linestyle=":")
        borders = "; dotted: between two runs, without the pause" if len(self.starts) > 1 else ""
        axes.set_xlabel(f"{self.label} of the fleet's runs{borders}")


def timeline(history: History) -> tuple[str, dict[str, str], int]:
    """The stages that each worker worked on over time.

    Returns:
        The figure (empty without workers), the colour of each stage, and the number of workers
        that are not shown.
    """
    names = {key: worker.name for key, worker in history.workers.items()}
    counts = dict.fromkeys(names.values(), 0)
    for product in history.completed:
        if (product.run, product.worker) in names:
            counts[names[product.run, product.worker]] += 1
    busiest = set(sorted(counts, key=lambda name: -counts[name])[:MAX_WORKERS])
    workers = [name for name in counts if name in busiest]
    rows = {key: workers.index(name) for key, name in names.items() if name in busiest}
    stages = history.stages + ([FAILED] if history.failed_attempts else [])
    colours = colours_of(stages)
    if not workers:
        return "", colours, 0
    axis = TimeAxis.of(history)
    image = _stack_stages(
        _stage_counts(history, axis, rows, stages),
        _presence(history, axis, rows),
        [to_rgba(colours[stage]) for stage in stages],
    )
    height = 0.7 + 0.24 * len(workers)
    with _svg_figure("timeline", "What each worker did when", height) as (figure, svg):
        axes = figure.subplots()
        axes.imshow(
            image,
            extent=(0, axis.offsets[-1] / axis.unit, len(workers), 0),
            aspect="auto",
            interpolation="none",
        )
        axes.set_yticks(np.arange(len(workers)) + 0.5, workers, parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axis.draw(axes)
    return svg.getvalue(), colours, len(counts) - len(workers)


def _stage_counts(
    history: History, axis: TimeAxis, rows: Rows, stages: Sequence[str]
) -> np.ndarray:
    """Mean number of products in each stage, for each worker and column of the timeline.

    The stages of a product are assumed to follow one another without gaps.

    Returns:
        (rows, stages, COLUMNS).
    """
    index = {name: number for number, name in enumerate(stages)}
    runs: list[int] = []
    cells: list[int] = []
    starts: list[float] = []
    ends: list[float] = []

    def add(attempt: Attempt, stage: str, start: float, end: float) -> None:
        row = rows.get((attempt.run, attempt.worker))
        if row is not None:
            runs.append(attempt.run)
            cells.append(row * len(stages) + index[stage])
            starts.append(start)
            ends.append(end)

    for product in history.completed:
        start = product.start
        for stage, seconds in product.stages.items():
            add(product, stage, start, start + seconds)
            start += seconds
    for attempt in history.failed_attempts:
        add(attempt, FAILED, attempt.start, attempt.end)
    workers = 1 + max(rows.values())
    covered = _coverage(
        cells, _columns(axis, runs, starts), _columns(axis, runs, ends), workers * len(stages)
    )
    return covered.reshape(workers, len(stages), COLUMNS)


def _presence(history: History, axis: TimeAxis, rows: Rows) -> np.ndarray:
    """Share of each column in which each worker was there, (rows, COLUMNS)."""
    workers = {key: worker for key, worker in history.workers.items() if key in rows}
    runs = [run for run, _ in workers]
    starts = _columns(axis, runs, [worker.start for worker in workers.values()])
    ends = _columns(axis, runs, [worker.end for worker in workers.values()])
    return _coverage([rows[key] for key in workers], starts, ends, 1 + max(rows.values()))


def _columns(axis: TimeAxis, runs: Sequence[int], times: Sequence[float]) -> np.ndarray:
    """Times in columns of the timeline."""
    return axis.position(runs, times) / (axis.offsets[-1] / COLUMNS)


def _coverage(cells: Sequence[int], starts: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """Share of each column that intervals cover, summed over the intervals of a cell.

    The covered length up to a column is a ramp from the interval's start to its end. The ramps are
    summed as second differences, so that an interval of any length costs four additions.

    Args:
        cells: Cell of each interval.
        starts: Start of each interval in columns.
        ends: End of each interval in columns.
        count: Number of cells.

    Returns:
        (count, COLUMNS).
    """
    rows = np.array(cells, dtype=int)
    bends = np.zeros((count, COLUMNS + 3))
    for positions, sign in ((starts, 1.0), (ends, -1.0)):
        column = np.floor(positions).astype(int).clip(0, COLUMNS)
        fraction = positions - column
        np.add.at(bends, (rows, column + 1), sign * (1 - fraction))
        np.add.at(bends, (rows, column + 2), sign * fraction)
    covered = np.diff(bends.cumsum(axis=1).cumsum(axis=1)[:, : COLUMNS + 1], axis=1)
    return covered.clip(0, None)


def _stack_stages(
    counts: np.ndarray, presence: np.ndarray, colours: Sequence[tuple[float, float, float, float]]
) -> np.ndarray:
    """An image with one row per worker, in which the stages are stacked from the bottom.

    The full height is the largest number of concurrent products of a worker. Idle workers are
    faint grey; columns in which the worker was not there are transparent.

    Returns:
        uint8 RGBA, (workers * ROW_HEIGHT, COLUMNS, 4).
    """
    workers, stages, _ = counts.shape
    height = ROW_HEIGHT - 2
    full = max(1, math.ceil(counts.sum(axis=1).max(initial=0) - 0.05))
    tops = counts.cumsum(axis=1) / full * height  # of each stage, in image rows
    idle, absent = stages, stages + 1
    palette = np.array([*colours, (0.5, 0.5, 0.5, 0.18), (0, 0, 0, 0)])
    heights = np.arange(height, dtype=float)[::-1, None, None] + 0.5
    stage = (tops.transpose(1, 0, 2)[:, None] <= heights[None]).sum(axis=0)
    stage[(stage == idle) & (presence[None] < 0.5)] = absent
    image = np.full((workers, ROW_HEIGHT, COLUMNS), absent)
    image[:, 1:-1] = stage.transpose(1, 0, 2)
    return (palette[image.reshape(-1, COLUMNS)] * 255).round().astype(np.uint8)


def throughput(history: History) -> str:
    """Products per hour and number of workers over time."""
    axis = TimeAxis.of(history)
    completed, workers = history.completed, list(history.workers.values())
    steps = min(max(len(completed) // 5, MIN_STEPS), MAX_STEPS)
    edges = np.linspace(0, axis.offsets[-1], steps + 1)
    ends = axis.position([one.run for one in completed], [one.end for one in completed])
    rate = np.histogram(ends, edges)[0] / (edges[1] - edges[0]) * 3600
    runs = [worker.run for worker in workers]
    joined = np.sort(axis.position(runs, [worker.start for worker in workers]))
    left = np.sort(axis.position(runs, [worker.end for worker in workers]))
    middles = (edges[1:] + edges[:-1]) / 2
    count = np.searchsorted(joined, middles) - np.searchsorted(left, middles)
    title = "Products per hour and number of workers over time"
    with _svg_figure("throughput", title, 3) as (figure, svg):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for axes, values, label, colour in (
            (upper, rate, "products/h", COLOURS["compute"]),
            (lower, count, "workers", COLOURS[OTHER]),
        ):
            axes.stairs(values, edges / axis.unit, fill=True, color=colour)
            axes.set_ylim(0, max(1, values.max()) * 1.05)
            axes.set_ylabel(label)
        axis.draw(lower)
        mean = len(completed) / axis.offsets[-1] * 3600
        upper.axhline(mean, color=INK, linewidth=0.8, linestyle="--")
    return svg.getvalue()


def residuals(bands: Sequence[BandResiduals], outliers: Sequence[Outlier]) -> str:
    """The distribution of each band's residuals with its limit and the largest outliers."""
    title = "Consistency residuals of each band over all products"
    with _svg_figure("residuals", title, 0.7 + 0.32 * len(bands)) as (figure, svg):
        axes = figure.subplots()
        for row, band in enumerate(bands):
            low, first, median, third, high = band.percentiles
            axes.plot([low, high], [row, row], color=INK, linewidth=0.8)
            axes.barh(row, third - first, left=first, height=0.5, color="#9db8d3")
            axes.plot([median] * 2, [row - 0.25, row + 0.25], color=INK, linewidth=1.5)
            if band.limit is not None:
                axes.plot([band.limit] * 2, [row - 0.35, row + 0.35], color=COLOURS[FAILED])
            dots = [o.product.residuals[band.band] for o in outliers if band.band in o.bands]
            dots = sorted(dots, reverse=True)[:MAX_DOTS]
            axes.plot(dots, [row] * len(dots), ".", color=COLOURS[FAILED])
        if min(band.percentiles[0] for band in bands) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.set_yticks(range(len(bands)), [band.band for band in bands])
        axes.set_ylim(len(bands) - 0.4, -0.6)
        axes.use_sticky_edges = False
        axes.margins(x=0.04)
        axes.set_xlabel("residual in DN (RMSE)")
    return svg.getvalue()


@contextmanager
def _svg_figure(name: str, title: str, height: float) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure to draw on; when the block ends, its SVG element is written to the text buffer.

    Args:
        name: Prefix of the element's ids, which must be unique in the page.
        title: Text alternative.
        height: In inches; the width is 10.
    """
    svg = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(10, height), layout="constrained")
        yield figure, svg
        figure.savefig(svg, format="svg", metadata={"Date": None})
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    svg.seek(0)
    svg.truncate()
    svg.write(text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1))
