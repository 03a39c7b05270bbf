"""What an evaluation found, and the means that tables and figures show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from decametre.superres.evaluation.metrics import METRICS, Scores

BICUBIC = "bicubic"
"""The label of the baseline, which every evaluation has."""

RESIDUAL = "consistency_residual"
DETAIL = "detail_correlation"
"""How records name the indices without truth."""


@dataclass(frozen=True)
class MethodInfo:
    """What was compared.

    Attributes:
        label: Its name in all tables: a model's name, or the folder as the user named it.
        model: The card's name.
        bands: The bands that it makes, by wavelength.
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
        scene: Its name, unique in the evaluation.
        pixels: Number of scored pixels for each band; the same for every method.
        scores: For each method's label.
    """

    scene: str
    pixels: Mapping[str, int]
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class FullScaleScores:
    """Indices without truth, of one scene at 10 m.

    Attributes:
        scene: Its name.
        guides: For each sharpened band the 10 m band whose detail is most like its own as
            measured.
        measured: The correlation of their detail as measured, on the band's own grid.
        residual: For each method and band, the consistency residual relative to the band's mean.
        detail: For each method and band, the correlation of 10 m detail with the guide's.
    """

    scene: str
    guides: Mapping[str, str]
    measured: Mapping[str, float]
    residual: Mapping[str, Mapping[str, float]]
    detail: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """Several methods on several scenes.

    Attributes:
        command: The command line that makes it again.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        kernel: Degradation kernel.
        bands: The bands that are scored.
        methods: Bicubic first.
        scenes: The scenes that could be scored.
        skipped: For each other scene, why it could not be.
        full_scale: Indices without truth, where they were asked for.
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
        """A scene's score: the mean over bands."""
        return mean(scene.scores[label][metric].values())

    def mean(self, label: str, metric: str) -> float:
        """The mean over scenes of the mean over bands."""
        return mean(self.scene_mean(scene, label, metric) for scene in self.scenes)

    def band_mean(self, label: str, metric: str, band: str) -> float:
        """One band's mean over scenes; NaN where the method does not make the band."""
        return mean(s.scores[label][metric].get(band, math.nan) for s in self.scenes)

    def ratio(self, label: str, scenes: Sequence[SceneScores] | None = None) -> float:
        """RMSE averaged over bands and scenes, divided by that of bicubic: the published form.

        Args:
            label: The method.
            scenes: All by default.

        Returns:
            Over the bands that the method makes; NaN where bicubic is exact.
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
            for metric_name, table in ((RESIDUAL, found.residual), (DETAIL, found.detail)):
                for label, values in table.items():
                    for band, value in values.items():
                        yield found.scene, label, band, metric_name, value


def mean(values: Iterable[float]) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
