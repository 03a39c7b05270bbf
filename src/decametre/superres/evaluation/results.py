"""Results of an evaluation, and the means that tables and figures show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from decametre.superres.evaluation.metrics import ALL, METRICS, Scores

BICUBIC = "bicubic"
"""Label of the baseline, which every evaluation includes."""

RESIDUAL = "consistency_residual"
DETAIL = "detail_correlation"
D_LAMBDA = "d_lambda"
D_RHO = "d_rho"
"""Names of the indices without a reference."""


@dataclass(frozen=True)
class MethodInfo:
    """A compared method.

    Attributes:
        label: Its name in all tables: a model's name, or the folder as given by the user.
        model: Name in its card.
        bands: Its output bands, by wavelength.
        checksum: SHA-256 of its weights; empty for bicubic.
    """

    label: str
    model: str
    bands: tuple[str, ...]
    checksum: str


@dataclass(frozen=True)
class SceneScores:
    """All scores on one scene.

    Attributes:
        scene: Name of the scene, unique in the evaluation.
        pixels: Number of scored pixels for each band, equal for all methods.
        scores: Scores by the method's label.
    """

    scene: str
    pixels: Mapping[str, int]
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class FullScaleIndices:
    """Indices of one method in one scene at 10 m.

    Attributes:
        residual: For each band, the consistency residual relative to the band's mean.
        detail: For each band, the correlation of 10 m detail with the guide's.
        d_lambda: D_lambda of all bands together; NaN in scenes that are too small.
        d_rho: D_rho of each band.
    """

    residual: Mapping[str, float]
    detail: Mapping[str, float]
    d_lambda: float
    d_rho: Mapping[str, float]

    @property
    def qnr(self) -> float:
        """(1 - D_lambda) (1 - D_rho), with the mean of D_rho over bands."""
        return (1 - self.d_lambda) * (1 - mean(self.d_rho.values()))


@dataclass(frozen=True)
class FullScaleScores:
    """Indices of one scene at 10 m, without a reference.

    Attributes:
        scene: Name of the scene.
        guides: For each sharpened band, the 10 m band with the most similar detail as measured.
        measured: Correlation of their detail as measured, on the band's own grid.
        indices: The indices of each method.
    """

    scene: str
    guides: Mapping[str, str]
    measured: Mapping[str, float]
    indices: Mapping[str, FullScaleIndices]


@dataclass(frozen=True)
class Evaluation:
    """Scores of several methods on several scenes.

    Attributes:
        command: The command line that repeats the evaluation.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        kernel: Degradation kernel.
        bands: The scored bands.
        methods: The methods, bicubic first.
        scenes: The scored scenes.
        skipped: For each scene that could not be scored, the reason.
        full_scale: Indices without a reference, if requested.
    """

    command: str
    scale: int
    kernel: str
    bands: tuple[str, ...]
    methods: tuple[MethodInfo, ...]
    scenes: tuple[SceneScores, ...]
    skipped: Mapping[str, str]
    full_scale: tuple[FullScaleScores, ...] = ()

    def scene_mean(self, scene: SceneScores, label: str, metric: str) -> float:
        """A scene's score, averaged over bands."""
        return mean(scene.scores[label][metric].values())

    def mean(self, label: str, metric: str) -> float:
        """The score, averaged over bands and then over scenes."""
        return mean(self.scene_mean(scene, label, metric) for scene in self.scenes)

    def band_mean(self, label: str, metric: str, band: str) -> float:
        """A band's score, averaged over scenes; NaN if the method does not output the band."""
        return mean(s.scores[label][metric].get(band, math.nan) for s in self.scenes)

    def ratio(self, label: str, scenes: Sequence[SceneScores] | None = None) -> float:
        """RMSE averaged over bands and scenes, divided by that of bicubic, as in publications.

        Args:
            label: The method.
            scenes: All by default.

        Returns:
            The ratio over the method's output bands; NaN if bicubic is exact.
        """
        found = baseline = 0.0
        for scene in self.scenes if scenes is None else scenes:
            for band, value in scene.scores[label]["RMSE"].items():
                if not math.isnan(value):
                    found += value
                    baseline += scene.scores[BICUBIC]["RMSE"][band]
        return found / baseline if baseline else math.nan

    def records(self) -> Iterable[tuple[str, str, str, str, float]]:
        """Every score as (scene, method, band, metric, value)."""
        for scene in self.scenes:
            for label, scores in scene.scores.items():
                for metric in METRICS:
                    for band, value in scores[metric.name].items():
                        yield scene.scene, label, band, metric.name, value
        for found in self.full_scale:
            for band, value in found.measured.items():
                yield found.scene, "measured", band, DETAIL, value
            for label, indices in found.indices.items():
                for metric_name, values in (
                    (RESIDUAL, indices.residual),
                    (DETAIL, indices.detail),
                    (D_LAMBDA, {ALL: indices.d_lambda}),
                    (D_RHO, indices.d_rho),
                ):
                    for band, value in values.items():
                        yield found.scene, label, band, metric_name, value


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
