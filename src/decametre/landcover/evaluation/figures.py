"""Figures of an evaluation of land cover: F1 and support of each class, and confusion."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decametre.io.result_folder import ResultFolder
from decametre.landcover.evaluation.results import LandCoverEvaluation
from decametre.landcover.metrics.confusion import NONE, shares

NAME_WIDTH = 36
"""Characters of a class name in a figure; the longest name of CORINE has 86."""

LEAST_SHOWN = 0.005
"""Shares that would round to 0 % are not printed in the matrix."""


def draw_classes(evaluation: LandCoverEvaluation, folder: ResultFolder) -> None:
    """Write `per_class.png`, F1 of each class and model next to its support, with its numbers.

    Classes without support have no bar.
    """
    names = evaluation.class_names
    positions = np.arange(len(names))
    height = 0.8 / len(evaluation.models)
    figure = Figure(figsize=(10, 1.2 + len(names) * (0.2 + 0.09 * len(evaluation.models))), dpi=120)
    figure.set_layout_engine("constrained")
    scores, counts = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    for order, model in enumerate(evaluation.models):
        values = [one.rates.f1 for one in model.scores.classes]
        offset = (order - (len(evaluation.models) - 1) / 2) * height
        scores.barh(positions + offset, values, height, label=model.label)
    for position, support in zip(positions, evaluation.support, strict=True):
        if not support:
            scores.text(0.005, position, "no support", va="center", fontsize=7, color="0.4")
    scores.set_yticks(positions, [shortened(name) for name in names], fontsize=8)
    scores.set_ylim(len(names) - 0.4, -0.6)
    scores.set_xlim(0, 1)
    scores.set_xlabel("F1")
    scores.grid(axis="x", color="0.9")
    scores.set_axisbelow(True)
    bars = counts.barh(positions, evaluation.support, 0.8, color="0.6")
    counts.bar_label(bars, [str(support) for support in evaluation.support], padding=2, fontsize=7)
    # Support differs a thousandfold between classes. A class without support has no bar here.
    counts.set_xscale("log")
    counts.set_xlim(0.8, 10 * max(evaluation.support))
    counts.set_xlabel("support (log)")
    for axes in (scores, counts):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *scores.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False
    )
    rows = [
        (name, one.support, model.label, one.rates.f1)
        for model in evaluation.models
        for name, one in zip(names, model.scores.classes, strict=True)
    ]
    folder.write_figure("per_class", figure, ("class", "support", "model", "f1"), rows)


def draw_confusion(evaluation: LandCoverEvaluation, folder: ResultFolder) -> None:
    """Write `confusion.png`, for each model the shares of each true class, with its numbers.

    Rows of classes that no sample has are grey.
    """
    names = [*evaluation.class_names, NONE]
    edge = 1.5 + 0.24 * len(names)
    figure = Figure(figsize=((edge + 1.6) * len(evaluation.models), edge + 2.4), dpi=110)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(evaluation.models), squeeze=False)[0]
    rows = []
    for axes, model in zip(panels, evaluation.models, strict=True):
        found = shares(model.confusion)
        _matrix(axes, found, names)
        axes.set_title(model.label, fontsize=9)
        rows += [
            (model.label, true, predicted, count, share)
            for true, counted, shared in zip(names, model.confusion, found, strict=True)
            for predicted, count, share in zip(names, counted, shared, strict=True)
        ]
    bar = figure.colorbar(panels[-1].images[0], ax=list(panels), shrink=0.5, pad=0.01)
    bar.set_label("share of the row", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(
        "Multi-label confusion (Krstinić et al. 2020), % of each true class", fontsize=10
    )
    head = ("model", "true", "predicted", "count", "share")
    folder.write_figure("confusion", figure, head, rows)


def shortened(name: str) -> str:
    """A class name, shortened to fit into a figure."""
    return textwrap.shorten(name, NAME_WIDTH, placeholder=" ...")


def _matrix(axes: Axes, found: np.ndarray, names: list[str]) -> None:
    """One matrix, rows true and columns predicted."""
    axes.imshow(found, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_facecolor("0.85")
    for row, column in np.argwhere(found >= LEAST_SHOWN):
        share = found[row, column]
        axes.text(
            column,
            row,
            f"{100 * share:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if share > 0.5 else "black",
        )
    ticks = range(len(names))
    axes.set_xticks(ticks, [shortened(name) for name in names], rotation=90, fontsize=7)
    axes.set_yticks(ticks, [shortened(name) for name in names], fontsize=7)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
