"""An evaluation as human-readable tables, and as machine-readable JSON and CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torchmetrics

from decametre.io import tables as io_tables
from decametre.io.tables import Table, number
from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.evaluation.metrics import METRICS
from decametre.superres.evaluation.results import Evaluation, SceneScores, mean
from decametre.version import __version__


def tables(evaluation: Evaluation) -> list[Table]:
    """The tables in order; with several scenes, also those of single scenes."""
    found = [summary(evaluation), per_band(evaluation)]
    if len(evaluation.scenes) > 1:
        found += [per_scene(evaluation), per_scene_and_band(evaluation)]
    if evaluation.full_scale:
        found += [consistency(evaluation), sharpness(evaluation), distortion(evaluation)]
    return found


def text(evaluation: Evaluation) -> str:
    """All tables with their explanation, and the scenes that could not be scored."""
    parts = [_protocol(evaluation), *(table.markdown() for table in tables(evaluation))]
    if evaluation.skipped:
        lines = [f"* {name}: {reason}" for name, reason in evaluation.skipped.items()]
        parts.append("\n".join(["Not scored:", "", *lines]))
    return "\n\n".join(parts)


def markdown(evaluation: Evaluation) -> str:
    """The text as a Markdown file, with the command that repeats the evaluation and the figures."""
    return (
        f"# Evaluation\n\n```\n{evaluation.command}\n```\n\n{text(evaluation)}\n\n"
        "![Every metric per band](figures/per_band.png)\n"
    )


def summary(evaluation: Evaluation) -> Table:
    """One row per method, as in Tables 1 and 2 of Zhang et al. (2020)."""
    count = len(evaluation.scenes)
    rows = [
        [_label(evaluation, method.label)]
        + [number(evaluation.mean(method.label, m.name), m.decimals) for m in METRICS]
        + [number(evaluation.ratio(method.label), 3)]
        for method in evaluation.methods
    ]
    title = f"Mean over bands, then over {count} scene{'s' * (count != 1)}"
    return Table(title, ["method", *_metric_heads(), "RMSE / bicubic"], rows)


def per_band(evaluation: Evaluation) -> Table:
    """RMSE of each band, averaged over scenes."""
    rows = [
        [method.label]
        + [number(evaluation.band_mean(method.label, "RMSE", b), 1) for b in evaluation.bands]
        + [number(evaluation.mean(method.label, "RMSE"), 1)]
        for method in evaluation.methods
    ]
    return Table("RMSE in DN per band", ["method", *evaluation.bands, "mean"], rows)


def per_scene(evaluation: Evaluation) -> Table:
    """All metrics of each scene, averaged over bands."""
    rows = [
        [scene.scene, label]
        + [number(evaluation.scene_mean(scene, label, m.name), m.decimals) for m in METRICS]
        + [number(evaluation.ratio(label, [scene]), 3)]
        for scene, label in _lines(evaluation)
    ]
    head = ["scene", "method", *_metric_heads(), "RMSE / bicubic"]
    return Table("Per scene, mean over bands", head, rows, names=2)


def per_scene_and_band(evaluation: Evaluation) -> Table:
    """RMSE of each scene and band."""
    rows = [
        [scene.scene, label]
        + [number(scene.scores[label]["RMSE"].get(b, math.nan), 1) for b in evaluation.bands]
        for scene, label in _lines(evaluation)
    ]
    return Table(
        "RMSE in DN per scene and band", ["scene", "method", *evaluation.bands], rows, names=2
    )


def consistency(evaluation: Evaluation) -> Table:
    """The consistency residual of each scene."""
    rows = [
        [found.scene, label, *_cells(evaluation, indices.residual, 2, percent=True)]
        for found in evaluation.full_scale
        for label, indices in found.indices.items()
    ]
    return Table(
        "Full scale, no reference: consistency residual, % of the band's mean. It is the\n"
        "difference of the result, degraded with the sensor's MTF, from the input. A small\n"
        "residual is necessary, but not sufficient.",
        ["scene", "method", *evaluation.bands, "mean"],
        rows,
        names=2,
    )


def sharpness(evaluation: Evaluation) -> Table:
    """The detail correlation of each scene."""
    rows = []
    for found in evaluation.full_scale:
        rows.append([found.scene, "10 m band", *(found.guides[b] for b in evaluation.bands), ""])
        rows.append([found.scene, "measured", *_cells(evaluation, found.measured, 3)])
        rows += [
            [found.scene, label, *_cells(evaluation, indices.detail, 3)]
            for label, indices in found.indices.items()
        ]
    gsd = FINEST_GSD * evaluation.scale
    return Table(
        "Full scale, no reference: detail correlation with the 10 m band in the first row. It\n"
        "measures transferred sharpness; higher is not always better, since a copy of that band\n"
        f"has 1. `measured`: the correlation of the two bands as measured, at {gsd} m.",
        ["scene", "method", *evaluation.bands, "mean"],
        rows,
        names=2,
    )


def distortion(evaluation: Evaluation) -> Table:
    """D_lambda and D_rho of each scene."""
    rows = [
        [
            found.scene,
            label,
            number(indices.d_lambda, 4),
            *_cells(evaluation, indices.d_rho, 4),
            number(indices.qnr, 4),
        ]
        for found in evaluation.full_scale
        for label, indices in found.indices.items()
    ]
    return Table(
        "Full scale, no reference: D_lambda of all bands, and D_rho of each band (Ciotola et al.\n"
        "2025). 0 is best for both. QNR is (1 - D_lambda) (1 - D_rho), and 1 is best.",
        ["scene", "method", "D_lambda", *evaluation.bands, "mean D_rho", "QNR"],
        rows,
        names=2,
    )


def document(evaluation: Evaluation) -> dict[str, Any]:
    """All scores as a JSON document."""
    scale = evaluation.scale
    return {
        "protocol": {
            "name": "Wald",
            "scale": scale,
            "kernel": evaluation.kernel,
            "from_m": FINEST_GSD * scale**2,
            "to_m": FINEST_GSD * scale,
        },
        "command": evaluation.command,
        "software": {
            "decametre": __version__,
            "torch": torch.__version__,
            "torchmetrics": torchmetrics.__version__,
        },
        "metrics": {
            metric.name: {"unit": metric.unit, "per_band": metric.per_band} for metric in METRICS
        },
        "methods": {
            method.label: {
                "model": method.model,
                "bands": list(method.bands),
                "checksum_sha256": method.checksum,
                "rmse_ratio_to_bicubic": evaluation.ratio(method.label),
                "mean": {m.name: evaluation.mean(method.label, m.name) for m in METRICS},
                "mean_per_band": {
                    m.name: {
                        band: evaluation.band_mean(method.label, m.name, band)
                        for band in evaluation.bands
                        if band in method.bands
                    }
                    for m in METRICS
                    if m.per_band
                },
            }
            for method in evaluation.methods
        },
        "scenes": [
            {
                "scene": scene.scene,
                "pixels": dict(scene.pixels),
                "rmse_ratio_to_bicubic": {
                    label: evaluation.ratio(label, [scene]) for label in scene.scores
                },
                "scores": scene.scores,
            }
            for scene in evaluation.scenes
        ],
        "skipped": dict(evaluation.skipped),
        "full_scale": [
            {
                "scene": full.scene,
                "guides": full.guides,
                "detail_correlation_measured": full.measured,
                "consistency_residual": {k: each.residual for k, each in full.indices.items()},
                "detail_correlation": {k: each.detail for k, each in full.indices.items()},
                "d_lambda": {k: each.d_lambda for k, each in full.indices.items()},
                "d_rho": {k: each.d_rho for k, each in full.indices.items()},
            }
            for full in evaluation.full_scale
        ],
    }


def json_text(evaluation: Evaluation) -> str:
    """All scores as JSON."""
    return io_tables.json_text(document(evaluation))


def csv_text(evaluation: Evaluation) -> str:
    """All scores as CSV, one per line; the band is `all` for a score of all bands together."""
    return io_tables.csv_text(("scene", "model", "band", "metric", "value"), evaluation.records())


def _protocol(evaluation: Evaluation) -> str:
    """Explanation above the tables."""
    scale, gsd = evaluation.scale, FINEST_GSD * evaluation.scale
    return (
        f"Wald's protocol, kernel {evaluation.kernel}, scale {scale}: {gsd * scale} to {gsd} m, "
        "over measured pixels.\nIt is not the error at 10 m. A reflectance of 1 is 10000 DN."
    )


def _metric_heads() -> list[str]:
    return [f"{m.name} [{m.unit}]" if m.unit else m.name for m in METRICS]


def _label(evaluation: Evaluation, label: str) -> str:
    """A method's name, with its bands if it lacks some."""
    bands = next(method.bands for method in evaluation.methods if method.label == label)
    missing = set(evaluation.bands) - set(bands)
    return f"{label} (only {' '.join(sorted(bands))})" if missing else label


def _lines(evaluation: Evaluation) -> Iterable[tuple[SceneScores, str]]:
    for scene in evaluation.scenes:
        for label in scene.scores:
            yield scene, label


def _cells(
    evaluation: Evaluation, values: Any, decimals: int, *, percent: bool = False
) -> list[str]:
    """One cell per band, and their mean."""
    factor = 100 if percent else 1
    cells = [factor * values.get(band, math.nan) for band in evaluation.bands]
    return [number(value, decimals) for value in (*cells, mean(cells))]
