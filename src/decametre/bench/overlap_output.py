"""The files of an overlap report: JSON, and a figure of one step."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from decametre.bench.overlap_report import Report
from decametre.bench.overlap_trace import Step
from decametre.bench.spans import Span, common
from decametre.errors import OutputError

REPORT = "overlap.json"
FIGURE = "overlap.png"
TRACE = "trace.json.gz"

COLOURS = {
    "step": "0.9",
    "forward and back-propagation": "0.7",
    "back-propagation": "C0",
    "exchange during it": "C2",
    "exchange, exposed": "C3",
}


def write_report(report: Report, steps: Sequence[Sequence[Step]], folder: Path) -> None:
    """Write `overlap.json` and `overlap.png`.

    Args:
        report: Of the steps.
        steps: Of each rank.
        folder: It exists.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        document = json.dumps(report.to_dict(), indent=2)
        (folder / REPORT).write_text(document + "\n", encoding="utf-8")
        draw_step(report, [of_rank[typical(steps)] for of_rank in steps], folder / FIGURE)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def read_report(folder: Path) -> Report:
    """What `write_report` wrote."""
    return Report.of(json.loads((folder / REPORT).read_text(encoding="utf-8")))


def typical(steps: Sequence[Sequence[Step]]) -> int:
    """The step whose exposed exchange, over all ranks, is nearest to the median."""
    exposed = [
        sum(step.times().exposed for step in of_ranks) for of_ranks in zip(*steps, strict=True)
    ]
    usual = median(exposed)
    return min(range(len(exposed)), key=lambda step: abs(exposed[step] - usual))


def draw_step(report: Report, ranks: Sequence[Step], path: Path) -> None:
    """A step of each rank on a line of time: what it computes, and under it what it exchanges."""
    figure = Figure(figsize=(9, 1.6 + 0.9 * len(ranks)), dpi=120)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    shown: set[str] = set()

    def bars(spans: Sequence[Span], row: float, what: str) -> None:
        axes.broken_barh(
            [(begin, end - begin) for begin, end in spans],
            (row, 0.38),
            facecolors=COLOURS[what],
            label="" if what in shown else what,
        )
        shown.add(what)

    for rank, step in enumerate(ranks):
        bars([(0.0, step.length)], rank, "step")
        bars([step.gradient], rank, "forward and back-propagation")
        bars(step.backward, rank, "back-propagation")
        bars(step.exchange, rank + 0.4, "exchange, exposed")
        bars(common(step.exchange, step.backward), rank + 0.4, "exchange during it")
    axes.set_yticks([rank + 0.4 for rank in range(len(ranks))])
    axes.set_yticklabels([f"rank {rank}" for rank in range(len(ranks))])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds since the step's begin, of each rank")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    caption = (
        f"{report.recipe}, batch {report.batch}, {report.gradient_bytes / 1e6:.1f} MB of gradients "
        f"in {report.buckets} buckets; {report.hardware}. A step near the median of "
        f"{len(report.steps[0])}, traced by torch's profiler."
    )
    figure.supxlabel(textwrap.fill(caption, 140), fontsize=7)
    figure.savefig(path)
