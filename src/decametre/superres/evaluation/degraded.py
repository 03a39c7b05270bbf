"""Wald's protocol: the RMSE of a network and of bicubic interpolation on degraded scenes.

Training uses it for validation; `metrics` has the other scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from decametre.superres.degradation.degraded_scene import DegradedPair, DegradedScene
from decametre.superres.models.prediction import predict, predict_bicubic


@dataclass(frozen=True)
class SceneScore:
    """The error on one scene.

    Attributes:
        scene: Its name.
        pixels: Number of scored pixels, over all bands.
        rmse: Root mean square error of the network for each band, in DN of 10000 a reflectance
            of 1; NaN for a band without a scored pixel.
        rmse_bicubic: The same for bicubic interpolation.
    """

    scene: str
    pixels: int
    rmse: tuple[float, ...]
    rmse_bicubic: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Mean RMSE over bands, divided by that of bicubic."""
        return mean_ratio([self])


def score(
    network: nn.Module, margin: int, scenes: Iterable[DegradedScene], alignment: int = 1
) -> list[SceneScore]:
    """RMSE of a network and of bicubic interpolation on each scene with pixels to score.

    Args:
        network: A network whose inputs are all bands of the scenes, in their order.
        margin: See `predict`.
        scenes: Degraded scenes.
        alignment: See `predict`.
    """
    scores = []
    for scene in scenes:
        pair = scene.full_pair()
        if not pair.mask.any():
            continue
        scores.append(
            SceneScore(
                scene.name,
                int(pair.mask.sum()),
                rmse(
                    predict(network, pair.inputs, margin, alignment, measured=pair.measured), pair
                ),
                rmse(predict_bicubic(pair.inputs), pair),
            )
        )
    return scores


def rmse(image: Tensor, pair: DegradedPair) -> tuple[float, ...]:
    """Root mean square error for each band over the pair's mask, in DN."""
    squares = ((image - pair.target) * 1e4).double().square() * pair.mask
    totals = squares.sum(dim=(0, 2, 3)) / pair.mask.sum(dim=(0, 2, 3))
    return tuple(totals.sqrt().tolist())


def mean_ratio(scores: Sequence[SceneScore]) -> float:
    """RMSE averaged over bands and scenes, divided by that of bicubic, as in publications.

    Bands without scored pixels are ignored. NaN if there is no other, or if bicubic is exact.
    """
    pairs = [
        (a, b)
        for s in scores
        for a, b in zip(s.rmse, s.rmse_bicubic, strict=True)
        if not math.isnan(b)
    ]
    baseline = sum(b for _, b in pairs)
    return sum(a for a, _ in pairs) / baseline if baseline else math.nan
