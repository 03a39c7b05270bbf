"""The files of a scaling report: its points as CSV, JSON and a figure."""

from __future__ import annotations

import csv
import json
import textwrap
from dataclasses import asdict, fields
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decametre.bench.scaling_report import SCALINGS, Point, Report
from decametre.errors import OutputError

COLOURS = {"weak": "C0", "strong": "C1"}


def write_report(report: Report, folder: Path) -> None:
    """Write `scaling.csv`, `scaling.json` and `scaling.png`.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        with (folder / "scaling.csv").open("w", newline="", encoding="utf-8") as file:
            names = [field.name for field in fields(Point)]
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, report.points))
        document = json.dumps(report.to_dict(), indent=2)
        (folder / "scaling.json").write_text(document + "\n", encoding="utf-8")
        draw_scaling(report, folder / "scaling.png")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def draw_scaling(report: Report, path: Path) -> None:
    """Throughput and efficiency over ranks, a row a recipe, as Fig. 3 and 4 of Zhang et al. (2020).

    Measured points are solid, with bars from the least to the most; the model is dashed.
    """
    recipes = list(dict.fromkeys(point.recipe for point in report.points))
    figure = Figure(figsize=(9, 1.6 + 2.8 * len(recipes)), dpi=120)
    figure.set_layout_engine("constrained")
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
            axes.spines[["top", "right"]].set_visible(False)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    caption = (
        f"Measured: {report.hardware}; median, least and most of {report.repeats}. "
        f"{report.caption_of_model()}."
    )
    figure.supxlabel(textwrap.fill(caption, 140), fontsize=7)
    figure.savefig(path)


def _draw(left: Axes, right: Axes, points: list[Point]) -> None:
    """A line of throughput and one of efficiency, all of one scaling and source."""
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
