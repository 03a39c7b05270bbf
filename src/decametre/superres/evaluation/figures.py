"""Figures of an evaluation: bars per band, and maps of truth, predictions and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decametre.io.result_folder import ResultFolder
from decametre.superres.evaluation.comparison import Crop
from decametre.superres.evaluation.metrics import DN, METRICS
from decametre.superres.evaluation.results import BICUBIC, Evaluation

GAP_COLOUR = "0.6"
PANEL = 1.8
"""Edge of a map in inches."""


def draw_bars(evaluation: Evaluation, folder: ResultFolder) -> None:
    """Write `per_band.png`, every metric per band and method, with its numbers.

    Values are means over scenes. The infinite dB of a perfect image have no bar.
    """
    metrics = [metric for metric in METRICS if metric.per_band]
    figure = Figure(figsize=(2 + 1.1 * len(evaluation.bands), 2.2 * len(metrics)), dpi=120)
    figure.set_layout_engine("constrained")
    labels = [method.label for method in evaluation.methods]
    width = 0.8 / len(labels)
    rows = []
    for axes, metric in zip(figure.subplots(len(metrics), 1), metrics, strict=True):
        for number, label in enumerate(labels):
            values = [evaluation.band_mean(label, metric.name, b) for b in evaluation.bands]
            positions = np.arange(len(values)) + (number - (len(labels) - 1) / 2) * width
            axes.bar(
                positions, [v if np.isfinite(v) else np.nan for v in values], width, label=label
            )
            rows += [
                (metric.name, band, label, value)
                for band, value in zip(evaluation.bands, values, strict=True)
            ]
        axes.set_xticks(range(len(evaluation.bands)), evaluation.bands)
        axes.set_ylabel(f"{metric.name} [{metric.unit}]" if metric.unit else metric.name)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel(
        f"Wald's protocol, kernel {evaluation.kernel}, scale {evaluation.scale}", fontsize=8
    )
    folder.write_figure("per_band", figure, ("metric", "band", "model", "value"), rows)


def draw_scene(crop: Crop, path: Path) -> None:
    """Write a picture of a scene's centre: truth, predictions and their errors, a row per band.

    Truth and predictions of a band share one colour scale, the 1st to 99th percentile of the truth.
    All errors share another one, which extends to the 99th percentile of bicubic's error on both
    sides of 0. Grey pixels are not scored.
    """
    labels, bands = list(crop.predicted), list(crop.truth)
    errors = {
        (label, band): (image - crop.truth[band]).numpy() * DN
        for label, images in crop.predicted.items()
        for band, image in images.items()
    }
    limit = _percentiles([errors[BICUBIC, band] for band in bands], [99], absolute=True)[0]
    columns = 1 + 2 * len(labels)
    figure = Figure(figsize=(PANEL * columns + 1.6, PANEL * len(bands) + 0.7), dpi=100)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(len(bands), columns, squeeze=False)
    for axes, title in zip(
        grid[0], ["truth", *labels, *(f"error of\n{label}" for label in labels)], strict=True
    ):
        axes.set_title(title, fontsize=8)
    for row, band in zip(grid, bands, strict=True):
        truth = crop.truth[band].numpy() * DN
        low, high = _percentiles([truth], [1, 99])
        value_axes, error_axes = row[: 1 + len(labels)], row[1 + len(labels) :]
        _map(value_axes[0], truth, "viridis", low, high)
        for label, shown, wrong in zip(labels, value_axes[1:], error_axes, strict=True):
            if band in crop.predicted[label]:
                _map(shown, crop.predicted[label][band].numpy() * DN, "viridis", low, high)
                _map(wrong, errors[label, band], "RdBu_r", -limit, limit)
            else:
                shown.set_axis_off()
                wrong.set_axis_off()
        value_axes[0].set_ylabel(band)
        bar = figure.colorbar(value_axes[0].images[0], ax=list(value_axes), shrink=0.9, pad=0.01)
        bar.ax.tick_params(labelsize=6)
    bar = figure.colorbar(
        grid[0, 1 + len(labels)].images[0],
        ax=list(grid[:, 1 + len(labels) :].ravel()),
        shrink=0.9 / len(bands) ** 0.5,
        pad=0.01,
    )
    bar.set_label("DN", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    figure.suptitle(f"{crop.scene}, its middle: reflectance and error in DN", fontsize=9)
    figure.savefig(path)


def _map(axes: Axes, image: np.ndarray, colours: str, low: float, high: float) -> None:
    """One image without ticks; NaN is grey."""
    axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_facecolor(GAP_COLOUR)
    axes.set_xticks([])
    axes.set_yticks([])


def _percentiles(
    images: Sequence[np.ndarray], at: Sequence[float], *, absolute: bool = False
) -> list[float]:
    """Percentiles without NaN, never all equal, so that they can bound a colour scale."""
    values = np.concatenate([image[~np.isnan(image)] for image in images])
    if not values.size:
        return [0.0, 1.0][-len(at) :]
    found = np.percentile(np.abs(values) if absolute else values, at)
    found[-1] = max(found[-1], (0.0 if absolute else found[0]) + 1e-6)
    return [float(value) for value in found]
