"""The files of a scaling report: points as CSV and JSON, and a figure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from matplotlib.axes import Axes

from decametre.bench.report_files import (
    new_figure,
    output_errors,
    save_figure,
    write_csv,
    write_json,
)
from decametre.bench.scaling_report import SCALINGS, ScalingPoint, ScalingReport

COLOURS = {"weak": "C0", "strong": "C1"}


def write_report(report: ScalingReport, folder: Path) -> None:
    """Write `scaling.csv`, `scaling.json` and `scaling.png`.

    Raises:
        OutputError: The folder cannot be written.
    """
    with output_errors(folder):
        write_csv(folder / "scaling.csv", [asdict(point) for point in report.points])
        write_json(folder / "scaling.json", report.to_dict())
        draw_scaling(report, folder / "scaling.png")


def draw_scaling(report: ScalingReport, path: Path) -> None:
    """Draw throughput and efficiency over ranks, as in Fig. 3 and 4 of Zhang et al. (2020).

    Each recipe has a row. Measurements are solid lines, with bars from minimum to maximum; the
    model is dashed.
    """
    recipes = list(dict.fromkeys(point.recipe for point in report.points))
    figure = new_figure(9, 1.6 + 2.8 * len(recipes))
    for (left, right), recipe in zip(
        figure.subplots(len(recipes), 2, squeeze=False), recipes, strict=True
    ):
        for scaling in SCALINGS:
            found = [p for p in report.points if (p.recipe, p.scaling) == (recipe, scaling)]
            _draw(left, right, [p for p in found if p.source == "measured"])
            _draw(left, right, [p for p in found if p.source == "model"])
        ranks = sorted({p.ranks for p in report.points if p.recipe == recipe})
        alone = next(p.rate for p in report.points if p.recipe == recipe and p.ranks == 1)
        left.plot(ranks, [alone * n for n in ranks], ":", color="0.6", label="linear", zorder=0)
        right.axhline(1, linestyle=":", color="0.6", zorder=0)
        left.set_yscale("log")
        left.set_ylabel("samples/s")
        right.set_ylabel("efficiency against one rank")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_title(recipe, fontsize=10)
            axes.set_xscale("log", base=2)
            axes.set_xticks(ranks, [str(n) for n in ranks], fontsize=7)
            axes.set_xlabel("ranks")
    caption = (
        f"Measured: {report.hardware}; median, least and most of {report.repeats}. "
        f"{report.caption_of_model()}."
    )
    save_figure(figure, left, caption, path)


def _draw(left: Axes, right: Axes, points: list[ScalingPoint]) -> None:
    """Draw throughput and efficiency of points of one scaling and source."""
    if not points:
        return
    first, modelled = points[0], points[0].source == "model"
    for axes, factors in (
        (left, [1.0] * len(points)),
        (right, [p.efficiency / p.rate for p in points]),
    ):
        scaled = list(zip(points, factors, strict=True))
        axes.errorbar(
            [p.ranks for p in points],
            [p.rate * f for p, f in scaled],
            [
                [(p.rate - p.least) * f for p, f in scaled],
                [(p.most - p.rate) * f for p, f in scaled],
            ],
            color=COLOURS[first.scaling],
            linestyle="--" if modelled else "-",
            marker="" if modelled else "o",
            markersize=4,
            elinewidth=0 if modelled else 1.5,
            label=f"{first.scaling}, {first.source}",
        )
