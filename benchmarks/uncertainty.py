"""Whether the predicted uncertainty agrees with the errors.

Products are degraded by one kernel after another and sharpened. At every pixel, the error is
compared with the predicted standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels import degraded_by
from decametre.sentinel2.opening import open_product
from decametre.superres.models.prediction import predict
from decametre.superres.models.registry import load_model
from decametre.superres.models.uncertainty import LEVELS
from decametre.superres.pixels.scenes import load_scene
from decametre.superres.sharpening.deviations import load_uncertainties

BLOCK = {2: 32, 6: 8}
"""Edge of the blocks over which errors and predictions are compared, in pixels of the truth."""

MIN_SHARE = 0.5
"""Share of scored pixels that a block needs."""


@dataclass(frozen=True)
class UncertaintyScore:
    """The prediction for one band of a degraded product.

    Attributes:
        kernel: See `benchmarks.kernels`.
        product: Identifier of the product.
        band: Name of the band.
        coverage: Percentage of the errors inside the interval of each percentage.
        ratio: Root mean square of the errors divided by that of the predicted deviations.
        correlation: Spearman's rank correlation of both over blocks; None with fewer than 10.
    """

    kernel: str
    product: str
    band: str
    coverage: dict[str, float]
    ratio: float
    correlation: float | None


@dataclass(frozen=True)
class UncertaintyReport:
    """The scores of all bands and products."""

    scores: tuple[UncertaintyScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def table(self) -> str:
        """Means over products of each band under each kernel, in Markdown."""
        rows = [
            {
                "kernel": score.kernel,
                "band": score.band,
                **{f"{level} %": value for level, value in score.coverage.items()},
                "RMSE / predicted": score.ratio,
                "rank correlation": score.correlation,
            }
            for score in self.scores
        ]
        means = pandas.DataFrame(rows).groupby(["kernel", "band"], sort=False).mean().reset_index()
        lines = [
            "| " + " | ".join(means.columns) + " |",
            "|---|---|" + "---:|" * (means.shape[1] - 2),
        ]
        for row in means.itertuples(index=False):
            coverage = [f"{value:.1f}" for value in row[2 : 2 + len(LEVELS)]]
            rest = [f"{value:.2f}" for value in row[2 + len(LEVELS) :]]
            lines.append("| " + " | ".join([*row[:2], *coverage, *rest]) + " |")
        return "\n".join(lines)


def run(products: Sequence[str], model: str, kernels: Sequence[str]) -> UncertaintyReport:
    """Compare errors with predictions.

    Args:
        products: Products with all input bands of the model.
        model: Name or folder of a model with an uncertainty.
        kernels: `dsen2`, `mtf`, `nominal`, or gains at the coarse Nyquist frequency.
    """
    loaded = load_model(model)
    card = loaded.card
    [uncertainty] = load_uncertainties([loaded], [model]).values()
    scores: list[UncertaintyScore] = []
    for source in products:
        product = open_product(source)
        scene = load_scene(product, card.bands)
        for kernel in kernels:
            pair = degraded_by(scene, kernel, card.bands_in, card.scale).full_pair()
            image = predict(
                loaded.network, pair.inputs, card.margin, card.alignment, measured=pair.measured
            )
            with torch.inference_mode():
                deviation = uncertainty.deviation(pair.inputs, image)
            for index, band in enumerate(card.bands_out):
                mask = pair.mask[:, index : index + 1]
                if mask.any():
                    error = (image - pair.target)[:, index : index + 1]
                    predicted = deviation[:, index : index + 1]
                    factors = uncertainty.card.factors[band]
                    found = compare(error, predicted, mask, factors, BLOCK[card.scale])
                    scores.append(UncertaintyScore(kernel, product.id, band, *found))
    return UncertaintyReport(tuple(scores))


def compare(
    error: Tensor, deviation: Tensor, mask: Tensor, factors: Mapping[str, float], block: int
) -> tuple[dict[str, float], float, float | None]:
    """Compare the errors of one band with their predicted standard deviations.

    Args:
        error: (1, 1, rows, columns).
        deviation: Likewise.
        mask: Likewise, True for scored pixels.
        factors: See `UncertaintyCard`.
        block: See `BLOCK`.

    Returns:
        The last three fields of `UncertaintyScore`.
    """
    relative = (error.abs() / deviation)[mask]
    coverage = {
        str(level): 100
        * float((relative <= factors[str(level)] / factors["deviation"]).float().mean())
        for level in LEVELS
    }
    squares = [x.double().square()[mask].mean() for x in (error, deviation)]
    share = F.avg_pool2d(mask.float(), block)
    blocks = [
        (F.avg_pool2d(x.square() * mask, block) / share)[share >= MIN_SHARE].sqrt().numpy()
        for x in (error, deviation)
    ]
    correlation = None
    if len(blocks[0]) >= 10:
        ranks = pandas.DataFrame(np.stack(blocks, axis=1)).rank()
        correlation = float(ranks.corr().iloc[0, 1])
    return coverage, float((squares[0] / squares[1]).sqrt()), correlation
